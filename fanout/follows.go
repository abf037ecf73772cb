package fanout

import (
	"slices"

	"tallystream/schemas"
)

// follows is what a session follows: a slice while that is little, as it nearly
// always is, and a map beyond, which media need.
type follows struct {
	few  []*following
	many map[schemas.DocumentID]*following // instead of few, if it is there
}

// fewDocuments is how many are looked through one by one.
const fewDocuments = 16

func (f *follows) len() int {
	if f.many != nil {
		return len(f.many)
	}
	return len(f.few)
}

func (f *follows) get(d schemas.DocumentID) *following {
	if f.many != nil {
		return f.many[d]
	}
	if i := f.index(d); i >= 0 {
		return f.few[i]
	}
	return nil
}

func (f *follows) index(d schemas.DocumentID) int {
	return slices.IndexFunc(f.few, func(x *following) bool { return x.row.topic.document == d })
}

// add takes in a document that is not followed yet.
func (f *follows) add(x *following) {
	if f.many == nil && len(f.few) < fewDocuments {
		f.few = append(f.few, x)
		return
	}
	if f.many == nil {
		f.many = make(map[schemas.DocumentID]*following, 2*fewDocuments)
		for _, y := range f.few {
			f.many[y.row.topic.document] = y
		}
		f.few = nil
	}
	f.many[x.row.topic.document] = x
}

func (f *follows) remove(d schemas.DocumentID) {
	if f.many != nil {
		delete(f.many, d)
		return
	}
	if i := f.index(d); i >= 0 {
		f.few = slices.Delete(f.few, i, i+1)
	}
}

func (f *follows) all() []*following {
	if f.many == nil {
		return slices.Clone(f.few)
	}
	out := make([]*following, 0, len(f.many))
	for _, x := range f.many {
		out = append(out, x)
	}
	return out
}

package publish

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"tallystream/schemas"
)

// renderer brings the edition up to a cut and knows what changed by it. Only
// lines whose bytes differ count as changed: a revision that repeats a
// contest's numbers moves no document.
type renderer struct {
	edition *edition
	scratch []byte

	// Of the last render.
	changed   []int32           // documents, in order of their name
	from      []schemas.Version // what each of them was before
	mark      uint32            // number of this render
	sheetMark [][]bool          // by county: sections whose line changed; nil: none
	sumMark   [][]bool          // by contest plan, likewise
	contests  []uint32          // contest plans touched, by mark
	touched   []int32
}

func newRenderer(c *catalogue) *renderer {
	return &renderer{
		edition:   newEdition(c),
		sheetMark: make([][]bool, len(c.counties)),
		sumMark:   make([][]bool, len(c.contests)),
		contests:  make([]uint32, len(c.contests)),
	}
}

// render takes the rows of the given counties over, and how many movements
// lowered each section. log becomes the version of every document whose bytes
// change by it.
func (r *renderer) render(rows [][]int64, moved [][]uint32, counties []schemas.CountyIndex, log schemas.LogSize) {
	r.forget()
	for _, c := range counties {
		r.sheet(c, rows[c], moved[c])
	}
	for _, k := range r.touched {
		r.sum(k)
	}
	r.documents(log)
}

func (r *renderer) forget() {
	r.mark++
	r.touched = r.touched[:0]
	r.changed, r.from = r.changed[:0], r.from[:0]
	clear(r.sheetMark)
	clear(r.sumMark)
}

// sheet renders one county and marks what changed.
func (r *renderer) sheet(county schemas.CountyIndex, row []int64, moved []uint32) {
	var after *sheet
	c := r.edition.catalogue
	before := r.edition.sheets[county]
	after, r.scratch = c.renderSheet(county, row, moved, r.scratch)
	if before != nil && bytes.Equal(before.bytes, after.bytes) {
		return
	}
	r.edition.sheets[county] = after
	plan := &c.counties[county]
	marks := make([]bool, len(plan.order))
	for i := range marks {
		if before == nil || !bytes.Equal(before.line(int32(i)), after.line(int32(i))) {
			marks[i] = true
			r.touchContest(plan.contests[i])
		}
	}
	r.sheetMark[county] = marks
	r.changed = append(r.changed, plan.document)
}

func (r *renderer) touchContest(k int32) {
	if r.contests[k] != r.mark {
		r.contests[k] = r.mark
		r.touched = append(r.touched, k)
	}
}

// sum adds one contest up again and marks what changed.
func (r *renderer) sum(k int32) {
	p := &r.edition.catalogue.contests[k]
	if !p.summed() {
		return
	}
	before, after := r.edition.sums[k], r.edition.renderSums(k)
	r.edition.sums[k] = after
	marks := make([]bool, len(after.lines))
	for i := range marks {
		marks[i] = before == nil || !bytes.Equal(before.lines[i], after.lines[i])
	}
	r.sumMark[k] = marks
	if p.document >= 0 {
		r.changed = append(r.changed, p.document)
	}
}

// documents hashes those that changed and gives them their version.
func (r *renderer) documents(log schemas.LogSize) {
	c := r.edition.catalogue
	front := slices.IndexFunc(c.documents, func(d documentPlan) bool { return d.kind == frontDocument })
	if slices.ContainsFunc(c.front, r.isChanged) || r.edition.documents[front].hash.IsZero() {
		r.changed = append(r.changed, int32(front))
	}
	slices.Sort(r.changed)
	for _, i := range r.changed {
		r.from = append(r.from, r.edition.documents[i].version)
		r.edition.documents[i] = r.edition.measure(i, log)
	}
}

// measure hashes a document without putting its bytes together.
func (ed *edition) measure(document int32, version schemas.Version) published {
	d := &ed.catalogue.documents[document]
	if d.kind == countyDocument {
		b := ed.sheets[d.of].bytes
		return published{version, schemas.DigestOf(b), int64(len(b))}
	}
	p := published{version: version}
	h := sha256.New()
	for _, r := range ed.refs(d) {
		line := ed.line(r)
		p.size += int64(len(line))
		h.Write(line)
	}
	h.Sum(p.hash[:0])
	return p
}

// isChanged reports whether the last render changed the line.
func (r *renderer) isChanged(ref lineRef) bool {
	if ref.county >= 0 {
		m := r.sheetMark[ref.county]
		return m != nil && m[ref.at]
	}
	m := r.sumMark[ref.plan]
	return m != nil && m[ref.at]
}

// changedLines appends the lines of a document that the last render changed,
// sorted, without their newlines.
func (r *renderer) changedLines(dst [][]byte, document int32) [][]byte {
	c := r.edition.catalogue
	d := &c.documents[document]
	if d.kind != countyDocument {
		for _, ref := range r.edition.refs(d) {
			if r.isChanged(ref) {
				dst = append(dst, bytes.TrimSuffix(r.edition.line(ref), []byte{'\n'}))
			}
		}
		return dst
	}
	marks, s := r.sheetMark[d.of], r.edition.sheets[d.of]
	for _, i := range c.counties[d.of].order {
		if marks[i] {
			dst = append(dst, bytes.TrimSuffix(s.line(i), []byte{'\n'}))
		}
	}
	return dst
}

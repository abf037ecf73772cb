package schemas

import (
	"encoding/json"
	"strconv"
)

// AppendBody writes the body of a submission: the counts of cells (in the
// unit's layout), of the count types that types marks (nil: all). Contests
// whose report cell is 0 are left out. It is what our own clients sign.
func (e *Election) AppendBody(dst []byte, unit UnitIndex, revision Revision, cells []Count, types []bool, c *Correction) []byte {
	w := bodyWriter{e: e, types: types}
	dst = append(dst, `{"schema":"`+SubmissionSchema+`","election":"`...)
	dst = append(dst, e.Definition.Election...)
	dst = append(dst, `","definition":"`...)
	dst = append(dst, e.hashText...)
	dst = append(dst, `","unit":"`...)
	dst = append(dst, e.Units[unit].ID...)
	dst = append(dst, `","revision":`...)
	dst = strconv.AppendUint(dst, uint64(revision), 10)
	dst = append(dst, `,"countTypes":[`...)
	first := true
	for i, t := range e.Definition.CountTypes {
		if types == nil || types[i] {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, '"')
			dst = append(dst, t...)
			dst = append(dst, '"')
		}
	}
	dst = append(dst, ']')
	if e.Definition.Rules.Ballots {
		dst = append(dst, `,"ballots":`...)
		dst = w.counts(dst, cells[1:])
	}
	dst = w.contests(dst, e.Units[unit].Style, cells)
	if c != nil {
		dst = append(dst, `,"correction":`...)
		b, err := json.Marshal(c)
		if err != nil { // two strings always marshal
			panic("schemas: marshalling a correction: " + err.Error())
		}
		dst = append(dst, b...)
	}
	return append(dst, '}')
}

type bodyWriter struct {
	e     *Election
	types []bool
}

func (w *bodyWriter) contests(dst []byte, style *Layout, cells []Count) []byte {
	dst = append(dst, `,"contests":[`...)
	first := true
	for i := 1; i < len(style.Sections); i++ {
		s := &style.Sections[i]
		if cells[s.Offset] == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = w.contest(dst, s, cells[s.Offset+1:])
	}
	return append(dst, ']')
}

func (w *bodyWriter) contest(dst []byte, s *Section, cells []Count) []byte {
	def := &w.e.Definition.Contests[s.Contest]
	types := w.e.Types()
	dst = append(dst, `{"contest":"`...)
	dst = append(dst, def.ID...)
	dst = append(dst, `","votes":[`...)
	for k := range def.Selections {
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"selection":"`...)
		dst = append(dst, def.Selections[k].ID...)
		dst = append(dst, `","counts":`...)
		dst = w.counts(dst, cells)
		dst = append(dst, '}')
		cells = cells[types:]
	}
	dst = append(dst, ']')
	if s.Residuals {
		dst = append(dst, `,"undervotes":`...)
		dst = w.counts(dst, cells)
		dst = append(dst, `,"overvotes":`...)
		dst = w.counts(dst, cells[types:])
	}
	return append(dst, '}')
}

func (w *bodyWriter) counts(dst []byte, cells []Count) []byte {
	dst = append(dst, '[')
	first := true
	for i := range w.e.Types() {
		if w.types != nil && !w.types[i] {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = strconv.AppendUint(dst, uint64(cells[i]), 10)
	}
	return append(dst, ']')
}

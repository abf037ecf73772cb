package publish

import (
	"fmt"

	"tallystream/schemas"
)

// holdsPage lists what is held, where and why, with the figures of the rule,
// and what became of it.
func (f *frame) holdsPage() []byte {
	h := make(html, 0, 32<<10)
	f.open(&h, "", "Held submissions", []crumb{{"Held submissions", holdsPath}})
	h.raw("<section class=\"card\" id=\"at-").text(string(f.catalogue.election.Definition.Election)).raw("\">\n",
		"<p>A submission that is well signed but implausible is <b>held</b>: it changes no number. It counts once two supervisors <b>release</b> it with a reason for the public, ",
		"or a later report of the unit takes its place. Nothing is taken away: each stands in the public log as it was signed.</p>\n<p>")
	f.holdStates(&h)
	h.raw(" For programs: <a href=\"").text(f.listed.holds.Key).raw("\">" + schemas.HoldsName + "</a>.</p>\n")
	if f.openHolds() > 0 {
		f.holdReasons(&h)
	}
	h.raw("</section>\n")
	shown := f.holdsShown()
	rows := func(c schemas.CountyIndex, open func()) (n, left int) {
		for i := range f.listings.holds {
			switch {
			case f.listings.holds[i].county != c:
				continue
			case !shown[i]:
				left++
				continue
			case n == 0:
				open()
				h.raw("<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"Held submissions\"><table class=\"held\"><caption>Held submissions</caption><thead><tr>",
					"<th scope=\"col\">Unit</th><th scope=\"col\" class=\"n\">Revision</th><th scope=\"col\">Why</th><th scope=\"col\">Now</th></tr></thead><tbody>\n")
			}
			n++
			f.holdRow(&h, f.listings.holds[i].line)
		}
		if n > 0 {
			h.raw("</tbody></table></div>\n")
		}
		return n, left
	}
	f.byCounty(&h, func(c schemas.CountyIndex) bool {
		n, left := rows(c, func() { f.openCounty(&h, c) })
		return f.closeCounty(&h, c, n, left, "held submissions", schemas.HoldsName)
	})
	if n, _ := rows(-1, func() { h.raw("<section class=\"card\">\n<h2>Of no unit</h2>\n") }); n > 0 {
		h.raw("</section>\n")
	}
	f.close(&h, "")
	return h
}

// holdStates says how many there are, and how many are not open any more.
func (f *frame) holdStates(h *html) {
	states := map[schemas.HoldState]int{}
	for i := range f.listings.holds {
		states[f.listings.holds[i].state]++
	}
	if len(f.listings.holds) == 0 {
		h.raw("None was held so far.")
		return
	}
	h.raw("Held so far: ").number(int64(len(f.listings.holds))).raw(". Held now: ").number(int64(states[schemas.HoldOpen])).raw(", released: ").
		number(int64(states[schemas.HoldReleased])).raw(", replaced by a later report: ").number(int64(states[schemas.HoldSuperseded] + states[schemas.HoldLapsed])).raw(".")
}

// openHolds is how many submissions are held now.
func (f *frame) openHolds() (n uint64) {
	for _, ofCode := range f.listings.open {
		n += ofCode // 0 where all that were held for it are settled
	}
	return n
}

// holdsShown picks those that the page has room for: open ones first.
func (f *frame) holdsShown() []bool {
	shown, room := make([]bool, len(f.listings.holds)), mostHolds
	for _, open := range []bool{true, false} {
		for i := range f.listings.holds {
			if room > 0 && (f.listings.holds[i].state == schemas.HoldOpen) == open {
				shown[i] = true
				room--
			}
		}
	}
	return shown
}

var holdStateWords = map[schemas.HoldState]string{
	schemas.HoldOpen:       "held",
	schemas.HoldReleased:   "released: it counted from then on",
	schemas.HoldLapsed:     "released after a later report counted",
	schemas.HoldSuperseded: "replaced by a later report",
}

func (f *frame) holdRow(h *html, line []byte) {
	x, err := schemas.ParseHeldEntry(line)
	if err != nil { // the fold wrote it
		panic(fmt.Sprintf("publish: %v", err))
	}
	h.raw("<tr><th scope=\"row\">")
	if x.Unit == "" {
		h.raw("–</th><td class=\"n\">–")
	} else {
		h.text(f.unitName(x.Unit)).raw("</th><td class=\"n\">").number(int64(x.Revision))
	}
	h.raw("</td><td>").text(x.Why)
	if x.Finding != nil {
		h.raw(" <span class=\"note\">")
		f.finding(h, x.Finding)
		h.raw("</span>")
	}
	if x.Twin != "" {
		h.raw(" <span class=\"note\">Those of ").text(f.unitName(x.Twin)).raw(".</span>")
	}
	h.raw("</td><td")
	if x.State == schemas.HoldOpen {
		h.raw(" class=\"is-held\"")
	}
	h.raw(">").raw(holdStateWords[x.State]).raw("</td></tr>\n")
}

// finding says what an outlier broke, with the rule's figures.
func (f *frame) finding(h *html, x *schemas.OutlierFinding) {
	name := string(x.Contest)
	if contest, ok := f.catalogue.election.Contest(x.Contest); ok {
		name = f.contestName(int32(contest) + 1)
	}
	h.text(name).raw(": ").number(x.Value).raw(", against ").number(x.Against)
	if x.Rule == "history" {
		h.raw(" in the last comparable election")
	} else {
		h.raw(" in the mean of the other units of the county")
	}
	h.raw("; the rule lets pass up to ").number(int64(x.Percent)).raw("% of that.")
}

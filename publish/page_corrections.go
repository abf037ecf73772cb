package publish

import (
	"fmt"
	"slices"

	"tallystream/schemas"
)

// Where people read why numbers fell, and what is held.
const (
	correctionsPath = "corrections.html"
	holdsPath       = "holds.html"
)

// mostMovements, mostFalls and mostHolds bound those two pages; the files have
// all. What two supervisors signed is shown first.
const (
	mostMovements = 1000
	mostFalls     = 40 // numbers of one movement
	mostHolds     = 2000
)

// listingSummary says on the front page how many submissions change no number
// yet and why, and how many numbers fell.
func (f *frame) listingSummary(h *html) {
	h.raw("<div class=\"cards\">\n<section class=\"card\">\n<h2><a href=\"" + holdsPath + "\">Held submissions</a></h2>\n<p>")
	open := f.openHolds()
	switch {
	case len(f.listings.holds) == 0:
		h.raw("None. Every submission that was accepted is counted.</p>\n")
	case open == 0:
		h.raw("None any more. ").number(int64(len(f.listings.holds))).raw(" were, and were released or replaced since.</p>\n")
	default:
		h.number(int64(open)).raw(" submissions were accepted and are held: they change no number until officials release or replace them.</p>\n")
		f.holdReasons(h)
	}
	h.raw("</section>\n<section class=\"card\">\n<h2><a href=\"" + correctionsPath + "\">Corrections</a></h2>\n<p>")
	if len(f.listings.moves) == 0 {
		h.raw("None. No number that was published has fallen.</p>\n")
	} else {
		h.raw("Numbers fell ").times(len(f.listings.moves)).raw(": ")
		f.kindsOfMovements(h)
		h.raw(".</p>\n")
	}
	h.raw("</section>\n</div>\n")
}

// times appends how often.
func (h *html) times(n int) *html {
	if n == 1 {
		return h.raw("once")
	}
	return h.number(int64(n)).raw(" times")
}

// holdReasons is a table of what is held now.
func (f *frame) holdReasons(h *html) {
	h.raw("<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"Held submissions by reason\"><table><caption>Held submissions by reason</caption>",
		"<thead><tr><th scope=\"col\">Reason</th><th scope=\"col\" class=\"n\">Held</th></tr></thead><tbody>\n")
	for _, code := range schemas.HoldCodes {
		if n := f.listings.open[code]; n > 0 {
			h.raw("<tr><th scope=\"row\">").text(code.Explanation()).raw("</th><td class=\"n\">").number(int64(n)).raw("</td></tr>\n")
		}
	}
	h.raw("</tbody></table></div>\n")
}

// movementWords are the kinds of movements, one and several.
var movementWords = []struct {
	kind      schemas.MovementKind
	one, more string
}{
	{schemas.MovementCorrection, "correction", "corrections"},
	{schemas.MovementRelease, "release of what was held", "releases of what was held"},
	{schemas.MovementAdjudication, "adjudication of undervotes or overvotes", "adjudications of undervotes or overvotes"},
	{schemas.MovementRemainder, "sum of small units that are shown together", "sums of small units that are shown together"},
}

func (f *frame) kindsOfMovements(h *html) {
	first := true
	for _, w := range movementWords {
		n := 0
		for i := range f.listings.moves {
			if f.listings.moves[i].kind == w.kind {
				n++
			}
		}
		if n == 0 {
			continue
		}
		if !first {
			h.raw(", ")
		}
		first = false
		if h.number(int64(n)).raw(" "); n == 1 {
			h.raw(w.one)
		} else {
			h.raw(w.more)
		}
	}
}

// correctionsPage lists by county what fell, by how much, why, and who signed.
func (f *frame) correctionsPage() []byte {
	h := make(html, 0, 32<<10)
	f.open(&h, "", "Corrections", []crumb{{"Corrections", correctionsPath}})
	h.raw("<section class=\"card\" id=\"at-").text(string(f.catalogue.election.Definition.Election)).raw("\">\n",
		"<p>A published number falls for one of three reasons only, and each time it does it is listed here. A <b>correction</b> replaces what a unit reported, and a ",
		"<b>release</b> lets a held submission count: both are signed by two supervisors and give a reason. An <b>adjudication</b> is a later report with fewer undervotes or ",
		"overvotes, in which nothing else is less: those votes went to a choice.</p>\n<p>")
	if len(f.listings.moves) == 0 {
		h.raw("No number has fallen so far.")
	} else {
		h.raw("So far: ")
		f.kindsOfMovements(&h)
		h.raw(".")
	}
	h.raw(" For programs: <a href=\"").text(f.listed.corrections.Key).raw("\">" + schemas.CorrectionsName + "</a>.</p>\n</section>\n")
	shown := f.movementsShown()
	f.byCounty(&h, func(c schemas.CountyIndex) bool {
		n, left := 0, 0
		for i := range f.listings.moves {
			switch {
			case f.listings.moves[i].county != c:
				continue
			case !shown[i]:
				left++
				continue
			case n == 0:
				f.openCounty(&h, c)
			}
			n++
			f.movement(&h, f.listings.moves[i].line)
		}
		return f.closeCounty(&h, c, n, left, "corrections", schemas.CorrectionsName)
	})
	f.close(&h, "")
	return h
}

// movementsShown picks those that the page has room for.
func (f *frame) movementsShown() []bool {
	shown, room := make([]bool, len(f.listings.moves)), mostMovements
	for _, adjudication := range []bool{false, true} {
		for i := range f.listings.moves {
			if room > 0 && (f.listings.moves[i].kind == schemas.MovementAdjudication) == adjudication {
				shown[i] = true
				room--
			}
		}
	}
	return shown
}

// byCounty calls each for every county, by state where there are several; each
// says whether it wrote something.
func (f *frame) byCounty(h *html, each func(schemas.CountyIndex) bool) {
	d := f.catalogue.election.Definition
	if !f.catalogue.manyState {
		for _, c := range f.countyOrder {
			each(c)
		}
		return
	}
	for state := range d.States {
		at := len(*h)
		h.raw("<div id=\"at-").text(string(d.States[state].ID)).raw("\">\n")
		wrote := false
		for _, c := range f.countyOrder {
			if f.catalogue.election.Counties[c].State == int32(state) && each(c) {
				wrote = true
			}
		}
		if !wrote {
			*h = (*h)[:at]
			continue
		}
		h.raw("</div>\n")
	}
}

func (f *frame) openCounty(h *html, c schemas.CountyIndex) {
	id := string(f.catalogue.election.Counties[c].ID)
	h.raw("<section class=\"card\" id=\"at-").text(id).raw("\">\n<h2><a href=\"county/").text(id).raw(".html\">").text(f.countyName(c)).raw("</a></h2>\n")
}

// closeCounty ends a county's section, if there is anything to say of it.
func (f *frame) closeCounty(h *html, c schemas.CountyIndex, shown, left int, what, file string) bool {
	if shown+left == 0 {
		return false
	}
	if shown == 0 {
		f.openCounty(h, c)
	}
	if left > 0 {
		h.raw("<p class=\"note\">").number(int64(left)).raw(" more ", what, " of this county stand in ", file, ".</p>\n")
	}
	h.raw("</section>\n")
	return true
}

// movement shows one line of the file.
func (f *frame) movement(h *html, line []byte) {
	m, err := schemas.ParseMovement(line)
	if err != nil { // the fold wrote it
		panic(fmt.Sprintf("publish: %v", err))
	}
	h.raw("<article class=\"listed\">\n<h3>").text(f.unitName(m.Unit)).raw("</h3>\n<p class=\"note\">Revision ").number(int64(m.Revision))
	if m.Revision != m.Replaces {
		h.raw(" replaces revision ").number(int64(m.Replaces))
	} else {
		h.raw(" replaces other contents of the same revision")
	}
	h.raw(" · ")
	switch m.Kind {
	case schemas.MovementCorrection:
		h.raw("correction")
	case schemas.MovementRelease:
		h.raw("release")
	case schemas.MovementRemainder:
		h.raw("small units that are shown together: which of them lowered it is not told")
	default:
		h.raw("adjudication of undervotes or overvotes")
	}
	if m.Reason != "" {
		h.raw(": <b>").text(readable(m.Reason)).raw("</b>")
	}
	h.raw("</p>\n")
	if m.Text != "" {
		h.raw("<p>“").text(m.Text).raw("”</p>\n")
	}
	f.falls(h, m)
	h.raw("<p class=\"note\">")
	if len(m.Signers) > 0 {
		h.raw("Signed by ")
	}
	for i, name := range m.Signers {
		if i > 0 {
			h.raw(", ")
		}
		h.raw("<code>").text(name).raw("</code>")
	}
	if len(m.Signers) > 0 {
		h.raw(". ")
	}
	h.raw("In the log: entry ").number(int64(m.Seq)).raw(" of partition ").number(int64(m.Partition)).raw(".</p>\n</article>\n")
}

// falls is a table of the numbers that a movement lowered.
func (f *frame) falls(h *html, m *schemas.Movement) {
	h.raw("<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"").text(f.unitName(m.Unit)).raw("\"><table><caption>Numbers of ").text(f.unitName(m.Unit)).
		raw(" that fell</caption><thead><tr><th scope=\"col\">Number</th><th scope=\"col\" class=\"n\">Before</th><th scope=\"col\" class=\"n\">After</th>",
			"<th scope=\"col\" class=\"n\">Change</th></tr></thead><tbody>\n")
	for i := range m.Changes {
		if i == mostFalls {
			h.raw("<tr><td colspan=\"4\">and ").number(int64(len(m.Changes) - i)).raw(" more numbers</td></tr>\n")
			break
		}
		c := &m.Changes[i]
		h.raw("<tr><th scope=\"row\">")
		f.fallName(h, c)
		h.raw("</th><td class=\"n\">").number(int64(c.Before)).raw("</td><td class=\"n\">").number(int64(c.After)).raw("</td><td class=\"n\">−").
			number(int64(c.Before) - int64(c.After)).raw("</td></tr>\n")
	}
	h.raw("</tbody></table></div>\n")
}

// fallName says which number fell, as people know it.
func (f *frame) fallName(h *html, c *schemas.Fall) {
	contest, ok := f.catalogue.election.Contest(c.Contest)
	name, selection := string(c.Contest), string(c.Selection)
	if ok {
		name = f.contestName(int32(contest) + 1)
	}
	switch {
	case c.CountType == "":
		h.text(name).raw(" <span class=\"note\">is not reported any more</span>")
		return
	case contest == schemas.BallotsIndex:
		h.text(name)
	default:
		def := f.catalogue.election.Definition.Contests[contest]
		if i := slices.IndexFunc(def.Selections, func(s schemas.Selection) bool { return s.ID == c.Selection }); i >= 0 {
			selection = def.Selections[i].Name
		} else {
			selection = readable(selection) // undervotes and overvotes
		}
		h.text(name).raw(": ").text(selection)
	}
	if f.catalogue.election.Types() > 1 {
		h.raw(" <span class=\"note\">").text(readableType(c.CountType)).raw("</span>")
	}
}

// unitName is a unit as people know it.
func (f *frame) unitName(id schemas.UnitID) string {
	u, ok := f.catalogue.election.Unit(id)
	if !ok || f.catalogue.election.Definition.Units[u].Name == "" {
		return string(id)
	}
	return f.catalogue.election.Definition.Units[u].Name + " (" + string(id) + ")"
}

package publish

import (
	"strings"

	"tallystream/schemas"
)

// shown is one line of a document, as a page shows it. The script finds it
// again by its contest and unit and puts newer numbers in.
type shown struct {
	contest *contestPlan
	section *schemas.Section
	place   schemas.CountyID
	units   int64
	moved   int64 // movements that lowered a number of it
	row     []int64
}

// inCounty is a section of a county.
func (f *frame) inCounty(county schemas.CountyIndex, section int32) shown {
	place := &f.catalogue.election.Counties[county]
	s := &place.Sections[section]
	of := f.edition.sheets[county]
	return shown{&f.catalogue.contests[s.Contest+1], s, place.ID, int64(s.Units), corrections(of.moved, section), of.row}
}

// inSum is a contest over counties: line i of its sums.
func (f *frame) inSum(k int32, i int) shown {
	p := &f.catalogue.contests[k]
	units := int64(p.section.Units)
	if i < len(p.states) {
		units = p.states[i].units
	}
	return shown{p, &p.section, f.catalogue.sumPlace(p, i), units, f.edition.sums[k].moved[i], f.edition.sums[k].rows[i]}
}

func (s *shown) reporting() int64 { return s.row[s.section.Offset] }

// votes of selection k by count type.
func (s *shown) votes(k, types int) []int64 {
	return s.row[int(s.section.Offset)+1+k*types:][:types]
}

func total(counts []int64) int64 {
	n := int64(0)
	for _, c := range counts {
		n += c
	}
	return n
}

// totals of all selections, and their sum.
func (s *shown) totals(types int) ([]int64, int64) {
	out := make([]int64, s.section.Selections)
	sum := int64(0)
	for k := range out {
		out[k] = total(s.votes(k, types))
		sum += out[k]
	}
	return out, sum
}

// leads marks the selections with the most votes: as many as a voter may
// choose, and all that tie with the last of them.
func leads(totals []int64, allowed int) []bool {
	out := make([]bool, len(totals))
	for i, n := range totals {
		above := 0
		for _, m := range totals {
			if m > n {
				above++
			}
		}
		out[i] = n > 0 && above < allowed
	}
	return out
}

// line opens the attribute by which the script finds a shown line.
func (s *shown) attribute(h *html) {
	h.raw(" data-line=\"").text(string(s.contest.id)).raw(" ").text(string(s.place)).raw("\"")
}

// corrected says that numbers of the line were lowered, and leads to why. The
// script puts the same behind what has data-m, once there is something to say.
func (s *shown) corrected(h *html, root string) {
	if s.moved == 0 {
		return
	}
	h.raw(" <a class=\"corrected\" data-c href=\"", root, correctionsPath, "#at-").text(string(s.place)).raw("\">").number(s.moved)
	if s.moved == 1 {
		h.raw(" correction</a>")
		return
	}
	h.raw(" corrections</a>")
}

// progress shows how many units have reported.
func (f *frame) progress(h *html, root string, s *shown) {
	h.raw("<p class=\"reporting\" data-m><progress aria-label=\"Units reporting\" data-b max=\"").plain(max(s.units, 1)).raw("\" value=\"").plain(s.reporting()).raw("\"></progress> <span><b data-r>").
		number(s.reporting()).raw("</b> of <span data-n>").number(s.units).raw("</span> units reporting (<span data-q>").
		percent(s.reporting(), s.units).raw("</span>)</span>")
	s.corrected(h, root)
	h.raw("</p>\n")
}

// card shows one line of a contest: each selection with its votes and share,
// and, if split, each count type.
func (f *frame) card(h *html, root string, s *shown, heading, href string, split bool) {
	def := &f.catalogue.election.Definition.Contests[s.contest.contest]
	types := f.catalogue.election.Types()
	split = split && types > 1
	h.raw("<section class=\"card\" id=\"contest-").text(string(s.contest.id)).raw("\"")
	s.attribute(h)
	h.raw(" data-allowed=\"").plain(int64(def.VotesAllowed)).raw("\">\n<h2>")
	if href != "" {
		h.raw("<a href=\"").text(href).raw("\">").text(heading).raw("</a>")
	} else {
		h.text(heading)
	}
	h.raw("</h2>\n")
	if def.VotesAllowed > 1 {
		h.raw("<p class=\"note\">Voters may choose up to ").plain(int64(def.VotesAllowed)).raw(".</p>\n")
	}
	f.progress(h, root, s)
	h.raw("<div class=\"wide\"")
	if split { // wide enough to scroll, so the keyboard must reach it
		h.raw(" role=\"region\" tabindex=\"0\" aria-label=\"").text(heading).raw("\"")
	}
	h.raw(">\n<table class=\"votes\"><caption>Votes counted so far: ").text(heading).
		raw("</caption>\n<thead><tr><th scope=\"col\">").raw(choiceName(def.Kind)).raw("</th>")
	h.raw("<th scope=\"col\" class=\"n\">Votes</th><th scope=\"col\" class=\"n\">Share</th>")
	if split {
		for _, t := range f.catalogue.election.Definition.CountTypes {
			h.raw("<th scope=\"col\" class=\"n split\">").text(readableType(t)).raw("</th>")
		}
	}
	h.raw("</tr></thead>\n<tbody>\n")
	totals, sum := s.totals(types)
	lead := leads(totals, def.VotesAllowed)
	for k := range def.Selections {
		f.selection(h, s, &def.Selections[k], k, split, totals[k], sum, lead[k])
	}
	h.raw("</tbody>\n")
	f.residuals(h, s, split)
	h.raw("</table>\n</div>\n</section>\n")
}

func (f *frame) selection(h *html, s *shown, selection *schemas.Selection, k int, split bool, votes, sum int64, lead bool) {
	id := string(selection.ID)
	h.raw("<tr data-s=\"").text(id).raw("\"")
	if lead {
		h.raw(" class=\"leads\"")
	}
	h.raw("><th scope=\"row\">").text(selection.Name)
	if selection.Party != "" {
		h.raw(" <span class=\"party\">").text(selection.Party).raw("</span>")
	}
	if lead {
		h.raw(" <span class=\"lead\">leading</span>")
	}
	h.raw("</th>")
	h.raw("<td class=\"n\" data-v>").number(votes).raw("</td><td class=\"n share\"><span data-p>").percent(votes, sum).raw("</span><svg class=\"bar\" viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect data-w width=\"").
		plain(shareOf(votes, sum)).raw("\" height=\"4\"/></svg></td>")
	if split {
		h.counts(s.votes(k, f.catalogue.election.Types()))
	}
	h.raw("</tr>\n")
}

// counts appends a cell for each count type.
func (h *html) counts(counts []int64) {
	for _, n := range counts {
		h.raw("<td class=\"n split\" data-t>").number(n).raw("</td>")
	}
}

// shareOf is a share in whole percent, for the length of a bar. The bar is a
// drawing because the bucket's pages allow no style in their markup.
func shareOf(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return (100*part + whole/2) / whole
}

// residuals shows under- and overvotes, where they are known.
func (f *frame) residuals(h *html, s *shown, split bool) {
	if !s.section.Residuals {
		return
	}
	types := f.catalogue.election.Types()
	h.raw("<tfoot>\n")
	for i, name := range []string{"Undervotes", "Overvotes"} {
		counts := s.votes(int(s.section.Selections)+i, types)
		h.raw("<tr data-x=\"", strings.ToLower(name), "\"><th scope=\"row\">", name, "</th><td class=\"n\" data-v>").number(total(counts)).raw("</td><td></td>")
		if split {
			h.counts(counts)
		}
		h.raw("</tr>\n")
	}
	h.raw("</tfoot>\n")
}

// ballots shows the ballots cast at a place, if the election knows them, and
// how many units reported.
func (f *frame) ballots(h *html, root string, s *shown, registered int64) {
	h.raw("<section class=\"card\"")
	s.attribute(h)
	h.raw(">\n<h2>Reporting</h2>\n")
	f.progress(h, root, s)
	if f.catalogue.election.Definition.Rules.Ballots {
		cast := total(s.votes(0, f.catalogue.election.Types()))
		h.raw("<p data-s=\"ballots\">Ballots counted: <b data-v>").number(cast).raw("</b>")
		if registered > 0 {
			h.raw(" of <span data-g=\"").plain(registered).raw("\">").number(registered).raw("</span> registered voters (<span data-o>").percent(cast, registered).raw("</span>)")
		}
		h.raw("</p>\n")
	}
	h.raw("</section>\n")
}

func choiceName(kind schemas.ContestKind) string {
	switch kind {
	case schemas.BallotMeasureContest, schemas.RetentionContest:
		return "Answer"
	case schemas.PartyContest:
		return "Party"
	}
	return "Candidate"
}

// readableType spells a count type for people.
func readableType(t schemas.CountType) string {
	return readable(strings.TrimPrefix(string(t), "other-"))
}

// readable spells an identifier for people.
func readable(id string) string {
	s := strings.ReplaceAll(id, "-", " ")
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

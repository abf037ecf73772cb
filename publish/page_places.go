package publish

import (
	"cmp"
	"slices"

	"tallystream/schemas"
)

// indexPage is the front page: what the whole election votes on, the places
// below it, and what is held.
func (f *frame) indexPage() []byte {
	d := f.catalogue.election.Definition
	h := make(html, 0, 32<<10)
	f.open(&h, "", d.Name, nil, schemas.ElectionDocument)
	h.raw("<p class=\"note\">").text(d.Date).raw(" · <a href=\"contests.html\">All contests</a> (").number(int64(len(d.Contests))).raw(")")
	if e, ok := f.files[resultsName]; ok {
		h.raw(" · <a href=\"").text(e.Key).raw("\">All results by unit (CSV)</a>")
	}
	h.raw("</p>\n")
	all := f.inSum(0, len(f.catalogue.contests[0].states))
	f.ballots(&h, "", &all, f.registered[-1])
	f.listingSummary(&h)
	h.raw("<div class=\"cards\">\n")
	for _, k := range f.everywhere {
		s := f.inSum(k, len(f.catalogue.contests[k].states))
		f.card(&h, "", &s, f.contestName(k), f.contestPath(k), false)
	}
	h.raw("</div>\n")
	if f.catalogue.manyState {
		f.stateTable(&h)
	} else {
		f.countyTable(&h, "", -1)
	}
	f.close(&h, "")
	return h
}

// statePage shows a state of an election that has several.
func (f *frame) statePage(state int32) []byte {
	d := f.catalogue.election.Definition
	h := make(html, 0, 32<<10)
	const root = "../"
	f.open(&h, root, d.States[state].Name, []crumb{{d.States[state].Name, "state/" + string(d.States[state].ID) + ".html"}}, schemas.ElectionDocument)
	if s, ok := f.inState(0, state); ok {
		f.ballots(&h, root, &s, f.registered[state])
	}
	h.raw("<div class=\"cards\">\n")
	for _, k := range f.contestOrder {
		if k == 0 || !f.catalogue.contests[k].front {
			continue
		}
		if s, ok := f.inState(k, state); ok {
			f.card(&h, root, &s, f.contestName(k), root+f.contestPath(k), false)
		}
	}
	h.raw("</div>\n")
	f.countyTable(&h, root, state)
	f.close(&h, root)
	return h
}

// inState is a contest's sum over one state.
func (f *frame) inState(k, state int32) (shown, bool) {
	p := &f.catalogue.contests[k]
	i := slices.IndexFunc(p.states, func(s stateShare) bool { return s.state == state })
	if i < 0 || f.edition.sums[k] == nil {
		return shown{}, false
	}
	return f.inSum(k, i), true
}

// countyPage shows all contests of a county, with count types.
func (f *frame) countyPage(c schemas.CountyIndex) []byte {
	place := &f.catalogue.election.Counties[c]
	d := f.catalogue.election.Definition
	name := d.Counties[c].Name
	h := make(html, 0, 16<<10)
	const root = "../"
	crumbs := []crumb{{name, "county/" + string(place.ID) + ".html"}}
	if f.catalogue.manyState {
		crumbs = append([]crumb{{d.States[place.State].Name, "state/" + string(d.States[place.State].ID) + ".html"}}, crumbs...)
	}
	f.open(&h, root, name, crumbs, schemas.CountyDocument(place.ID))
	if e, ok := f.files[csvFolder+string(place.ID)+".csv"]; ok {
		h.raw("<p class=\"note\"><a href=\"", root).text(e.Key).raw("\">Results by unit (CSV)</a></p>\n")
	}
	f.hidden(&h, c)
	all := f.inCounty(c, 0)
	f.ballots(&h, root, &all, f.countyRegistered[c])
	h.raw("<div class=\"cards splits\">\n")
	sections := make([]int32, 0, len(place.Sections))
	for i := 1; i < len(place.Sections); i++ {
		sections = append(sections, int32(i))
	}
	// In the definition's order, which people expect; the row is sorted.
	slices.SortFunc(sections, func(a, b int32) int {
		return cmp.Compare(place.Sections[a].Contest, place.Sections[b].Contest)
	})
	for _, i := range sections {
		s := f.inCounty(c, i)
		k, href := int32(s.contest.contest)+1, ""
		if f.hasPage(k) {
			href = root + f.contestPath(k)
		}
		f.card(&h, root, &s, f.contestName(k), href, true)
	}
	h.raw("</div>\n")
	f.close(&h, root)
	return h
}

// stateTable lists the states with what has been reported.
func (f *frame) stateTable(h *html) {
	d := f.catalogue.election.Definition
	f.openPlaces(h, "States", "State")
	for i := range d.States {
		if s, ok := f.inState(0, int32(i)); ok {
			f.placeRow(h, "", &s, d.States[i].Name, "state/"+string(d.States[i].ID)+".html")
		}
	}
	h.raw("</tbody></table></div>\n</section>\n")
}

// countyTable lists the counties of a state, or all with state -1.
func (f *frame) countyTable(h *html, root string, state int32) {
	f.openPlaces(h, "Counties", "County")
	for _, c := range f.countyOrder {
		place := &f.catalogue.election.Counties[c]
		if (state < 0 || place.State == state) && len(place.Units) > 0 {
			s := f.inCounty(c, 0)
			f.placeRow(h, root, &s, f.catalogue.election.Definition.Counties[c].Name, root+"county/"+string(place.ID)+".html")
		}
	}
	h.raw("</tbody></table></div>\n</section>\n")
}

func (f *frame) openPlaces(h *html, heading, one string) {
	h.raw("<section class=\"card full\">\n<h2>", heading, "</h2>\n<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"", heading, "\"><table><caption>", heading, ": units reporting</caption>\n<thead><tr><th scope=\"col\">", one,
		"</th><th scope=\"col\" class=\"n\">Reporting</th><th scope=\"col\" class=\"n\">Units</th>")
	if f.catalogue.election.Definition.Rules.Ballots {
		h.raw("<th scope=\"col\" class=\"n\">Ballots</th>")
	}
	h.raw("</tr></thead>\n<tbody>\n")
}

func (f *frame) placeRow(h *html, root string, s *shown, name, href string) {
	h.raw("<tr")
	s.attribute(h)
	h.raw("><th scope=\"row\" data-m><a href=\"").text(href).raw("\">").text(name).raw("</a>")
	s.corrected(h, root)
	h.raw("</th><td class=\"n\" data-r>").number(s.reporting()).
		raw("</td><td class=\"n\" data-n>").number(s.units).raw("</td>")
	if f.catalogue.election.Definition.Rules.Ballots {
		h.raw("<td class=\"n\" data-s=\"ballots\"><span data-v>").number(total(s.votes(0, f.catalogue.election.Types()))).raw("</span></td>")
	}
	h.raw("</tr>\n")
}

// hidden says how many of a county's units are shown in sums only.
func (f *frame) hidden(h *html, c schemas.CountyIndex) {
	_, of := f.catalogue.election.RemaindersOf(c)
	if len(of) == 0 {
		return
	}
	units := int64(0)
	for i := range of {
		units += int64(len(of[i].Units))
	}
	h.raw("<p class=\"note\">").number(units).raw(" units are combined, because small ones are among them: their numbers are shown as ")
	if len(of) == 1 {
		h.raw("one sum.")
	} else {
		h.number(int64(len(of))).raw(" sums.")
	}
	h.raw(" A sum is shown when all of its units have reported, and again when all of them have reported once more.</p>\n")
}

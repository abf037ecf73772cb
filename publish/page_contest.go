package publish

// contestPage shows one contest: all its votes with count types, then by state
// and county.
func (f *frame) contestPage(k int32) []byte {
	p := &f.catalogue.contests[k]
	h := make(html, 0, 16<<10)
	const root = "../"
	name := f.contestName(k)
	crumbs := []crumb{{"Contests", "contests.html"}, {name, f.contestPath(k)}}
	f.open(&h, root, name, crumbs, f.catalogue.documentOf(p.contest))
	if p.document < 0 {
		at := p.places[0]
		county := &f.catalogue.election.Definition.Counties[at.county]
		h.raw("<p class=\"note\">A contest of <a href=\"", root, "county/").text(string(county.ID)).raw(".html\">").text(county.Name).raw("</a>.</p>\n")
		s := f.inCounty(at.county, at.section)
		f.card(&h, root, &s, "All votes", "", true)
		f.close(&h, root)
		return h
	}
	all := f.inSum(k, len(p.states))
	f.card(&h, root, &all, "All votes", "", true)
	if len(p.states) > 1 {
		f.openRows(&h, p, "By state", "State")
		for i, share := range p.states {
			s := f.inSum(k, i)
			state := &f.catalogue.election.Definition.States[share.state]
			f.resultRow(&h, root, &s, state.Name, root+"state/"+string(state.ID)+".html")
		}
		h.raw("</tbody></table></div>\n</section>\n")
	}
	f.openRows(&h, p, "By county", "County")
	for _, at := range p.places {
		if len(f.catalogue.election.Counties[at.county].Units) == 0 {
			continue
		}
		s := f.inCounty(at.county, at.section)
		f.resultRow(&h, root, &s, f.countyName(at.county), root+"county/"+string(s.place)+".html")
	}
	h.raw("</tbody></table></div>\n</section>\n")
	f.close(&h, root)
	return h
}

// openRows begins a table with one row a place and one column a selection.
func (f *frame) openRows(h *html, p *contestPlan, heading, one string) {
	h.raw("<section class=\"card full\">\n<h2>", heading, "</h2>\n<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"", heading, "\"><table class=\"places\"><caption>", heading, ": votes counted so far</caption>\n<thead><tr><th scope=\"col\">", one, "</th>")
	for i := range f.catalogue.election.Definition.Contests[p.contest].Selections {
		h.raw("<th scope=\"col\" class=\"n\">").text(f.catalogue.election.Definition.Contests[p.contest].Selections[i].Name).raw("</th>")
	}
	h.raw("<th scope=\"col\" class=\"n\">Reporting</th></tr></thead>\n<tbody>\n")
}

func (f *frame) resultRow(h *html, root string, s *shown, name, href string) {
	def := &f.catalogue.election.Definition.Contests[s.contest.contest]
	totals, _ := s.totals(f.catalogue.election.Types())
	lead := leads(totals, def.VotesAllowed)
	h.raw("<tr")
	s.attribute(h)
	h.raw(" data-allowed=\"").plain(int64(def.VotesAllowed)).raw("\"><th scope=\"row\" data-m><a href=\"").text(href).raw("\">").text(name).raw("</a>")
	s.corrected(h, root)
	h.raw("</th>")
	for k := range def.Selections {
		h.raw("<td data-s=\"").text(string(def.Selections[k].ID)).raw("\" class=\"n")
		if lead[k] {
			h.raw(" leads")
		}
		h.raw("\"><span data-v>").number(totals[k]).raw("</span></td>")
	}
	h.raw("<td class=\"n\"><span data-r>").number(s.reporting()).raw("</span>/<span data-n>").number(s.units).raw("</span></td></tr>\n")
}

// contestsPage lists all contests. It has no numbers and never changes.
func (f *frame) contestsPage() []byte {
	h := make(html, 0, 64<<10)
	f.open(&h, "", "All contests", []crumb{{"Contests", "contests.html"}})
	if !f.localPages {
		h.raw("<p class=\"note\">Contests of a single county stand on the county's page.</p>\n")
	}
	h.raw("<p><label>Find a contest <input type=\"search\" data-filter=\"contests\" autocomplete=\"off\"></label></p>\n<ul class=\"contests\" id=\"contests\">\n")
	for _, k := range f.contestOrder {
		p := &f.catalogue.contests[k]
		if !f.hasPage(k) {
			continue
		}
		h.raw("<li><a href=\"").text(f.contestPath(k)).raw("\">").text(f.contestName(k)).raw("</a>")
		switch {
		case p.document < 0:
			h.raw(" <span class=\"note\">").text(f.countyName(p.places[0].county)).raw("</span>")
		case f.catalogue.manyState && len(p.states) == 1:
			h.raw(" <span class=\"note\">").text(f.catalogue.election.Definition.States[p.states[0].state].Name).raw("</span>")
		}
		h.raw("</li>\n")
	}
	h.raw("</ul>\n")
	f.close(&h, "")
	return h
}

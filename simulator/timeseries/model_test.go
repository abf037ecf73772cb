package timeseries_test

// What must become of the series is worked out here a second time: from the
// source's own rows, by code that knows nothing of the pipeline, of its formats or
// of the importer.

// tally is a precinct's or a county's votes, by vote type and candidate.
type tally map[[2]string]int64

func (t tally) sum() (n int64) {
	for _, k := range t {
		n += k
	}
	return n
}

func (t tally) equal(o tally) bool {
	for _, kind := range voteTypes {
		for _, name := range names {
			if k := [2]string{kind, name}; t[k] != o[k] {
				return false
			}
		}
	}
	return true
}

// below reports whether any number is less than that of o.
func (t tally) below(o tally) bool {
	for k, n := range o {
		if t[k] < n {
			return true
		}
	}
	return false
}

// precinct is one as the source names it.
type precinct struct{ county, name string }

// fate is what must become of one statement.
type fate struct {
	at       string
	precinct precinct
	revision int
	code     string // of the hold; empty: it counts
	twin     precinct
}

// model is the count as the words of the design have it: the last statement
// wins, unless it is less than what counts, or the same as what another precinct of
// the county has.
type model struct {
	fates   []fate
	counted map[precinct]tally
	last    map[precinct]tally
	first   []precinct        // in the order in which they are first named
	fips    map[string]string // of what the source calls a county
	copies  map[precinct]bool // the same county had the precinct under another label before
}

// run works the model through. least is that of the rule of twins, 0: no rule.
func run(changes []map[string]string, least int64, number func(string) int64) *model {
	m := &model{counted: map[precinct]tally{}, last: map[precinct]tally{}, fips: map[string]string{}, copies: map[precinct]bool{}}
	ends := map[precinct]string{} // when it is named the last time
	for _, row := range changes {
		ends[precinct{row["county"], row["precinct"]}] = row["timestamp"]
		if row["fips"] != "" {
			m.fips[row["county"]] = row["fips"]
		}
	}
	revision := map[precinct]int{}
	said := map[precinct]map[string]tally{} // by vote type as the source has it
	for i := 0; i < len(changes); {
		at := changes[i]["timestamp"]
		var touched []precinct
		seen := map[precinct]bool{}
		for ; i < len(changes) && changes[i]["timestamp"] == at; i++ {
			p := precinct{changes[i]["county"], changes[i]["precinct"]}
			if said[p] == nil {
				said[p] = map[string]tally{}
				m.first = append(m.first, p)
			}
			of := tally{}
			for _, name := range names {
				of[[2]string{changes[i]["vote_type"], name}] = number(changes[i]["votes_"+name])
			}
			said[p][changes[i]["vote_type"]] = of
			if !seen[p] {
				seen[p] = true
				touched = append(touched, p)
			}
		}
		for _, p := range touched {
			if revision[p] == 0 && m.isCopyOf(p, said) {
				m.settle(m.fips[p.county], func(p precinct) bool { return ends[p] < at })
			}
		}
		for _, p := range touched {
			revision[p]++
			f := fate{at: at, precinct: p, revision: revision[p]}
			m.last[p] = whole(said[p])
			m.judge(&f, m.last[p], least)
			m.fates = append(m.fates, f)
		}
	}
	return m
}

// whole is a precinct's statement: what the total has beyond its parts stays in
// the total.
func whole(said map[string]tally) tally {
	out := tally{}
	for _, name := range names {
		parts := int64(0)
		for _, kind := range voteTypes[:2] {
			k := [2]string{kind, name}
			out[k] = said[kind][k]
			parts += out[k]
		}
		if total, ok := said["total"]; ok {
			k := [2]string{"total", name}
			out[k] = total[k] - parts
		}
	}
	return out
}

func (m *model) judge(f *fate, now tally, least int64) {
	before, counts := m.counted[f.precinct]
	if counts && now.below(before) {
		f.code = "count-lowered"
		return
	}
	if least > 0 && now.sum() >= least {
		for p, other := range m.counted {
			if p != f.precinct && m.fips[p.county] == m.fips[f.precinct.county] && other.equal(now) {
				f.code, f.twin = "same-as-another", p
				return
			}
		}
	}
	m.counted[f.precinct] = now
}

// isCopyOf notes whether the same county has the precinct under another label,
// and had it first.
func (m *model) isCopyOf(p precinct, said map[precinct]map[string]tally) bool {
	for o := range said {
		if o != p && o.name == p.name && m.fips[o.county] == m.fips[p.county] && m.last[o] != nil {
			m.copies[p] = true
		}
	}
	return m.copies[p]
}

// settle: before a county comes again, supervisors see to it that the last word
// of each of its precincts counts.
func (m *model) settle(fips string, ended func(precinct) bool) {
	for p, last := range m.last {
		if m.fips[p.county] == fips && !m.copies[p] && ended(p) {
			m.counted[p] = last
		}
	}
}

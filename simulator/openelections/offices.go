package openelections

import (
	"strings"

	"tallystream/schemas"
)

// rank orders contests for display.
type rank uint8

const (
	presidentRank rank = iota
	senateRank
	congressRank
	governorRank
	stateOfficeRank
	stateSenateRank
	stateHouseRank
	prosecutorRank
	justiceRank
	measureRank
	localRank
)

// office is what a title says of its contest.
type office struct {
	rank rank
	id   string // the office's part of the contest's identifier
	name string // as it is displayed
	// wide: counties that have the same title vote on the same contest.
	// Otherwise only their candidates can tell.
	wide     bool
	district string // normalised
}

// offices are those that all sources spell differently, by key.
var offices = func() map[string]office {
	m := map[string]office{}
	for _, o := range []struct {
		office
		keys string
	}{
		{office{rank: presidentRank, id: "president", name: "President"}, `president presidentandvicepresident presidentvicepresident
presidentoftheunitedstates uspresident unitedstatespresident presidentus presidentialelectors electorsforpresident presidentandvicepresidentoftheunitedstates`},
		{office{rank: senateRank, id: "us-senate", name: "U.S. Senate"}, `ussenate ussenator unitedstatessenate unitedstatessenator senatorinus`},
		{office{rank: congressRank, id: "us-house", name: "U.S. House"}, `ushouse usrepresentative unitedstatesrepresentative congress uscongress
representativeincongress ushouseofrepresentatives unitedstateshouseofrepresentatives congressionalrepresentative usrep`},
		{office{rank: governorRank, id: "governor", name: "Governor"}, `governor governorandlieutenantgovernor governorlieutenantgovernor governorltgovernor`},
		{office{rank: stateOfficeRank, id: "lieutenant-governor", name: "Lieutenant Governor"}, `lieutenantgovernor ltgovernor`},
		{office{rank: stateOfficeRank, id: "attorney-general", name: "Attorney General"}, `attorneygeneral`},
		{office{rank: stateOfficeRank, id: "secretary-of-state", name: "Secretary of State"}, `secretaryofstate`},
		{office{rank: stateSenateRank, id: "state-senate", name: "State Senate"}, `statesenate statesenator senatorinthegeneralassembly`},
		{office{rank: stateHouseRank, id: "state-house", name: "State House"}, `statehouse statehouseofrepresentatives staterepresentative
stateassembly stateassemblymember houseofdelegates memberofassembly generalassembly`},
	} {
		o.wide = true
		for _, k := range strings.Fields(o.keys) {
			m[k] = o.office
		}
	}
	return m
}()

// officeOf reads a title.
func officeOf(t title) office {
	name, district := t.office, t.district
	if district == "" {
		// Some sources write the district of a chamber into the office.
		if head, tail, ok := strings.Cut(name, " District "); ok {
			if o, known := offices[key(strings.TrimRight(head, ", "))]; known {
				name, district = o.name, tail
			}
		}
	}
	o, known := offices[key(name)]
	if !known {
		o = guess(name, district)
		o.id, o.name = identifier(name, "contest", longestPart), name
	}
	o.district = district
	for _, prefix := range []string{"District ", "district ", "DISTRICT "} {
		o.district = strings.TrimPrefix(o.district, prefix)
	}
	if d := strings.TrimLeft(o.district, "0"); d != "" {
		o.district = d
	}
	if district := slug(o.district); district != "" {
		o.id += "-" + identifier(o.district, "district", 24)
	}
	return o
}

// guess ranks an office by its words.
func guess(name, district string) office {
	k := key(name)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(k, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("charter", "town", "city", "school", "village", "township"):
	case has("constitutionalamendment", "statequestion", "proposedamendment", "initiatedact", "statemeasure", "statewideballot", "statewidereferendum"),
		strings.HasPrefix(k, "amendment"), strings.HasPrefix(k, "proposition"):
		return office{rank: measureRank, wide: true}
	case has("supremecourt", "courtofappeal", "districtcourtofappeal"):
		return office{rank: justiceRank, wide: true}
	case has("solicitor", "districtattorney", "stateattorney", "circuitcourt", "publicdefender"):
		return office{rank: prosecutorRank, wide: district != ""}
	case strings.HasPrefix(k, "state"), strings.HasPrefix(k, "comptroller"), strings.HasPrefix(k, "publicservicecommission"),
		strings.HasPrefix(k, "railroadcommission"), strings.HasPrefix(k, "superintendentofpublicinstruction"),
		has("commissionerofagriculture", "commissionerofinsurance", "insurancecommissioner", "commissioneroflabor", "agriculturecommissioner"):
		return office{rank: stateOfficeRank} // their candidates will tell
	}
	return office{rank: localRank}
}

// contestName is the title as it is displayed.
func (o *office) contestName() string {
	if o.district == "" {
		return o.name
	}
	for _, c := range o.district {
		if c < '0' || c > '9' {
			return o.name + ", " + o.district
		}
	}
	return o.name + ", District " + o.district
}

// group names contests that may be one: of a state, except for President.
func (o *office) group(state string) string {
	if o.rank == presidentRank {
		state = ""
	}
	return state + "\n" + o.id
}

// answer is "yes" or "no" for an answer to a question, in whatever words, or
// empty.
func answer(name string) string {
	first := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r < 'a' || r > 'z' })
	if len(first) == 0 {
		return ""
	}
	switch first[0] {
	case "yes", "for", "si":
		return "yes"
	case "no", "against":
		return "no"
	}
	return ""
}

// writeIn reports whether a label stands for write-ins.
func writeIn(name string) bool {
	k := key(name)
	return strings.HasPrefix(k, "writein") || k == "scattering" || k == "scattered" || k == "scatter"
}

// kindOf is the kind of a contest with the given selections.
func kindOf(o *office, selections []selection) schemas.ContestKind {
	if strings.HasPrefix(key(o.name), "straightparty") || strings.HasPrefix(key(o.name), "straightticket") {
		return schemas.PartyContest
	}
	answers := 0
	for i := range selections {
		switch {
		case selections[i].residual != notResidual || selections[i].writeIn:
		case selections[i].answer == "":
			return schemas.CandidateContest
		default:
			answers++
		}
	}
	if answers == 0 {
		return schemas.CandidateContest
	}
	if o.rank == justiceRank || strings.Contains(key(o.name), "retain") || strings.Contains(key(o.name), "retention") {
		return schemas.RetentionContest
	}
	return schemas.BallotMeasureContest
}

package cdf

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"tallystream/schemas"
)

// contests takes over contests with their selections, in the file's order.
func (i *importing) contests() error {
	d := &i.definition
	d.Contests = make([]schemas.Contest, 0, len(i.election.contests))
	i.contest = make(map[string]schemas.ContestID, len(i.election.contests))
	for n := range i.election.contests {
		f := &i.election.contests[n]
		if _, ok := i.contest[f.id]; ok {
			return &Error{f.path, fmt.Sprintf("@id %s stands twice", shown(f.id))}
		}
		c := schemas.Contest{
			ID: schemas.ContestID(identifier(f.id, contestPrefix)), Name: f.name, Kind: contestKind(f.class),
			VotesAllowed: cmp.Or(f.allowed, 1), Residuals: cmp.Or(i.options.Residuals, schemas.ResidualsNone),
			Selections: make([]schemas.Selection, 0, len(f.selections)),
		}
		if f.class == "CandidateContest" {
			c.VotesAllowed = f.allowed // required; 0 is for Validate to refuse
		}
		i.contest[f.id] = c.ID
		if text, ok := f.externals.get(extVotesAllowed); ok {
			var err error
			if c.VotesAllowed, err = strconv.Atoi(text); err != nil {
				return &Error{f.path + ".ExternalIdentifier", fmt.Sprintf("%s is %s, want a number", extVotesAllowed, shown(text))}
			}
		}
		if text, ok := f.externals.get(extResiduals); ok && i.options.Residuals == "" {
			c.Residuals = schemas.Residuals(text)
		}
		for k := range f.selections {
			s, err := i.selection(c.ID, f, &f.selections[k])
			if err != nil {
				return err
			}
			c.Selections = append(c.Selections, s)
		}
		if err := refine(f, &c); err != nil {
			return err
		}
		d.Contests = append(d.Contests, c)
	}
	return nil
}

func contestKind(class string) schemas.ContestKind {
	switch class {
	case "CandidateContest":
		return schemas.CandidateContest
	case "RetentionContest":
		return schemas.RetentionContest
	case "PartyContest":
		return schemas.PartyContest
	}
	return schemas.BallotMeasureContest
}

// selectionClass is the class of a contest's selections.
func selectionClass(contest string) string {
	switch contest {
	case "CandidateContest":
		return "CandidateSelection"
	case "PartyContest":
		return "PartySelection"
	}
	return "BallotMeasureSelection"
}

func (i *importing) selection(contest schemas.ContestID, of *fileContest, f *fileSelection) (schemas.Selection, error) {
	s := schemas.Selection{ID: schemas.SelectionID(identifier(f.id, selectionPrefix+string(contest)+ofContest)), WriteIn: f.writeIn}
	if want := selectionClass(of.class); f.class != want {
		return s, &Error{f.path, fmt.Sprintf("is of class %s, want %s in a %s", f.class, want, of.class)}
	}
	switch f.class {
	case "BallotMeasureSelection":
		s.Name = f.text
		return s, nil
	case "PartySelection":
		name, ok := i.file.parties[f.firstParty()]
		if !ok {
			return s, &Error{f.path + ".PartyIds", fmt.Sprintf("party %s is not there", shown(f.firstParty()))}
		}
		s.Name = name
		return s, nil
	}
	return s, i.candidates(f, &s)
}

// firstParty is the first party that a selection is for.
func (f *fileSelection) firstParty() string {
	if len(f.parties) == 0 {
		return ""
	}
	return f.parties[0]
}

// candidates names a selection after its candidates: a ticket is read in its
// order. The party is the first one's.
func (i *importing) candidates(f *fileSelection, s *schemas.Selection) error {
	if len(f.candidates) == 0 {
		if !f.writeIn {
			return &Error{f.path + ".CandidateIds", "names nobody, want candidates or IsWriteIn"}
		}
		s.Name = "Write-in"
		return nil
	}
	var names []string
	for k, id := range f.candidates {
		c, ok := i.election.candidates[id]
		if !ok {
			return &Error{fmt.Sprintf("%s.CandidateIds[%d]", f.path, k), fmt.Sprintf("candidate %s is not there", shown(id))}
		}
		names = append(names, c.name)
		if k > 0 || c.party == "" {
			continue
		}
		if s.Party, ok = i.file.parties[c.party]; !ok {
			return &Error{fmt.Sprintf("%s.CandidateIds[%d]", f.path, k), fmt.Sprintf("its party %s is not there", shown(c.party))}
		}
	}
	s.Name = strings.Join(names, " / ")
	return nil
}

// refine takes over what the classes have no member for.
func refine(f *fileContest, c *schemas.Contest) error {
	for _, x := range f.externals {
		if x.kind != extName && x.kind != extParty && x.kind != extWriteIn {
			continue
		}
		id, value, _ := strings.Cut(x.value, " ")
		at := -1
		for k := range c.Selections {
			if string(c.Selections[k].ID) == id {
				at = k
			}
		}
		if at < 0 {
			return &Error{f.path + ".ExternalIdentifier", fmt.Sprintf("%s is for selection %s, which is not there", x.kind, shown(id))}
		}
		switch s := &c.Selections[at]; x.kind {
		case extName:
			s.Name = value
		case extParty:
			s.Party = value
		case extWriteIn:
			s.WriteIn = true
		}
	}
	return nil
}

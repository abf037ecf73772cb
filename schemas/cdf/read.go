package cdf

import (
	"strings"

	"tallystream/schemas"
)

// These are the classes as Import needs them. Paths are those of the objects
// in the file, for errors.

type fileReport struct {
	status    string
	externals externals
	units     []fileUnit
	parties   map[string]string // name by @id
	elections []fileElection
}

type fileUnit struct {
	path       string
	id         string
	kind       string
	other      string
	name       string
	registered int
	composing  []string
}

type fileElection struct {
	path       string
	externals  externals
	name, date string
	scope      string
	types      []fileCountType
	contests   []fileContest
	candidates map[string]fileCandidate
	styles     []fileStyle
}

type fileCountType struct{ path, item, other string }

type fileContest struct {
	path       string
	class      string
	externals  externals
	id, name   string
	allowed    int // 0: not said
	selections []fileSelection
}

type fileSelection struct {
	path       string
	class      string
	id, text   string
	candidates []string
	parties    []string
	writeIn    bool
}

type fileCandidate struct{ name, party string }

type fileStyle struct {
	path      string
	externals externals
	units     []string
	contests  []string
}

// external is an ExternalIdentifier; kind is its OtherType, or its Type.
type external struct{ kind, value string }

type externals []external

// get returns the first value of a kind.
func (x externals) get(kind string) (string, bool) {
	for _, e := range x {
		if e.kind == kind {
			return e.value, true
		}
	}
	return "", false
}

// into reads a member into *dst.
func into[T any](dst *T, read func() (T, error)) (bool, error) {
	var err error
	*dst, err = read()
	return true, err
}

// listInto appends the elements of a list to *dst.
func listInto[T any](s *scanner, dst *[]T, read func() (T, error)) (bool, error) {
	return true, s.each(func() error {
		one, err := read()
		*dst = append(*dst, one)
		return err
	})
}

func (s *scanner) report() (r fileReport, err error) {
	r.parties = map[string]string{}
	_, err = s.object(func(name string) (bool, error) {
		switch name {
		case "Status":
			return into(&r.status, s.string)
		case "ExternalIdentifier":
			return into(&r.externals, s.externals)
		case "GpUnit":
			return listInto(s, &r.units, s.unit)
		case "Party":
			return true, s.each(func() error { return s.party(r.parties) })
		case "Election":
			return listInto(s, &r.elections, s.election)
		}
		return false, nil
	}, "ElectionReport")
	return r, err
}

func (s *scanner) unit() (u fileUnit, err error) {
	u.path = s.at()
	class, err := s.object(func(name string) (bool, error) {
		switch name {
		case "@id":
			return into(&u.id, s.string)
		case "Type":
			return into(&u.kind, s.string)
		case "OtherType":
			return into(&u.other, s.string)
		case "Name":
			return into(&u.name, s.internationalized)
		case "VotersRegistered":
			return into(&u.registered, func() (int, error) { return s.number(int(schemas.MaxCount)) })
		case "ComposingGpUnitIds":
			return into(&u.composing, s.strings)
		}
		return false, nil
	}, "ReportingUnit", "ReportingDevice")
	if class == "ReportingDevice" {
		u.kind = class
	}
	return u, err
}

func (s *scanner) party(names map[string]string) error {
	var id, name string
	_, err := s.object(func(member string) (bool, error) {
		switch member {
		case "@id":
			return into(&id, s.string)
		case "Name":
			return into(&name, s.internationalized)
		}
		return false, nil
	}, "Party", "Coalition")
	if err != nil {
		return err
	}
	if _, ok := names[id]; ok {
		return s.fail("@id %s stands twice", shown(id))
	}
	names[id] = name
	return nil
}

func (s *scanner) election() (e fileElection, err error) {
	e.path = s.at()
	e.candidates = map[string]fileCandidate{}
	_, err = s.object(func(name string) (bool, error) {
		switch name {
		case "ExternalIdentifier":
			return into(&e.externals, s.externals)
		case "Name":
			return into(&e.name, s.internationalized)
		case "StartDate":
			return into(&e.date, s.string)
		case "ElectionScopeId":
			return into(&e.scope, s.string)
		case "CountStatus":
			return listInto(s, &e.types, s.countStatus)
		case "Contest":
			return listInto(s, &e.contests, s.contest)
		case "Candidate":
			return true, s.each(func() error { return s.candidate(e.candidates) })
		case "BallotStyle":
			return listInto(s, &e.styles, s.style)
		}
		return false, nil
	}, "Election")
	return e, err
}

func (s *scanner) countStatus() (c fileCountType, err error) {
	c.path = s.at()
	_, err = s.object(func(name string) (bool, error) {
		switch name {
		case "Type":
			return into(&c.item, s.string)
		case "OtherType":
			return into(&c.other, s.string)
		}
		return false, nil
	}, "CountStatus")
	return c, err
}

func (s *scanner) contest() (c fileContest, err error) {
	c.path = s.at()
	c.class, err = s.object(func(name string) (bool, error) {
		switch name {
		case "@id":
			return into(&c.id, s.string)
		case "Name":
			return into(&c.name, s.string)
		case "VotesAllowed":
			return into(&c.allowed, func() (int, error) { return s.number(schemas.MaxAllowed) })
		case "ExternalIdentifier":
			return into(&c.externals, s.externals)
		case "ContestSelection":
			return listInto(s, &c.selections, s.selection)
		}
		return false, nil
	}, "CandidateContest", "BallotMeasureContest", "RetentionContest", "PartyContest")
	return c, err
}

func (s *scanner) selection() (c fileSelection, err error) {
	c.path = s.at()
	c.class, err = s.object(func(name string) (bool, error) {
		switch name {
		case "@id":
			return into(&c.id, s.string)
		case "Selection":
			return into(&c.text, s.internationalized)
		case "CandidateIds":
			return into(&c.candidates, s.strings)
		case "PartyIds":
			return into(&c.parties, s.strings)
		case "IsWriteIn":
			return into(&c.writeIn, s.boolean)
		}
		return false, nil
	}, "CandidateSelection", "BallotMeasureSelection", "PartySelection")
	return c, err
}

func (s *scanner) candidate(candidates map[string]fileCandidate) error {
	var id string
	var c fileCandidate
	_, err := s.object(func(name string) (bool, error) {
		switch name {
		case "@id":
			return into(&id, s.string)
		case "BallotName":
			return into(&c.name, s.internationalized)
		case "PartyId":
			return into(&c.party, s.string)
		}
		return false, nil
	}, "Candidate")
	if err != nil {
		return err
	}
	if _, ok := candidates[id]; ok {
		return s.fail("@id %s stands twice", shown(id))
	}
	candidates[id] = c
	return nil
}

func (s *scanner) style() (b fileStyle, err error) {
	b.path = s.at()
	_, err = s.object(func(name string) (bool, error) {
		switch name {
		case "ExternalIdentifier":
			return into(&b.externals, s.externals)
		case "GpUnitIds":
			return into(&b.units, s.strings)
		case "OrderedContent":
			return true, s.content(&b.contests, 0)
		}
		return false, nil
	}, "BallotStyle")
	return b, err
}

// maxHeaders bounds how deep headers of a ballot hold one another.
const maxHeaders = 16

// content reads the contests of a ballot, those under headers included.
func (s *scanner) content(dst *[]string, depth int) error {
	if depth > maxHeaders {
		return s.fail("headers hold one another more than %d deep", maxHeaders)
	}
	return s.each(func() error {
		_, err := s.object(func(name string) (bool, error) {
			switch name {
			case "ContestId":
				id, err := s.string()
				*dst = append(*dst, id)
				return true, err
			case "OrderedContent":
				return true, s.content(dst, depth+1)
			}
			return false, nil
		}, "OrderedContest", "OrderedHeader")
		return err
	})
}

func (s *scanner) externals() (out externals, err error) {
	err = s.each(func() error {
		var x external
		var kind, other string
		_, err := s.object(func(name string) (bool, error) {
			switch name {
			case "Type":
				return into(&kind, s.string)
			case "OtherType":
				return into(&other, s.string)
			case "Value":
				return into(&x.value, s.string)
			}
			return false, nil
		}, "ExternalIdentifier")
		if x.kind = kind; kind == "other" {
			x.kind = other
		}
		out = append(out, x)
		return err
	})
	return out, err
}

// internationalized reads a text: in English if it is there, otherwise in the
// first language.
func (s *scanner) internationalized() (string, error) {
	var text string
	found, english := false, false
	_, err := s.object(func(name string) (bool, error) {
		if name != "Text" {
			return false, nil
		}
		return true, s.each(func() error {
			var lang, content string
			_, err := s.object(func(name string) (bool, error) {
				switch name {
				case "Language":
					return into(&lang, s.string)
				case "Content":
					return into(&content, s.string)
				}
				return false, nil
			}, "LanguageString")
			isEnglish := lang == language || strings.HasPrefix(lang, language+"-")
			if !found || isEnglish && !english {
				text = content
			}
			found, english = true, english || isEnglish
			return err
		})
	}, "InternationalizedText")
	if err == nil && !found {
		return "", s.fail("has no text")
	}
	return text, err
}

package fanout

import (
	"fmt"
	"net/url"
	"strconv"

	"tallystream/schemas"
)

// subscriptionOf reads the documents that a query asks for:
//
//	?g=contest/president&g=county/leon&e=3&v=41&v=17
//
// Each g may have its v, in the same order, of epoch e. A query without g asks
// for nothing yet.
func subscriptionOf(q url.Values) (*schemas.Subscribe, error) {
	s := &schemas.Subscribe{Versions: map[schemas.DocumentID]schemas.Version{}}
	versions := q["v"]
	if len(versions) > len(q["g"]) {
		return nil, fmt.Errorf("query: %d v for %d g", len(versions), len(q["g"]))
	}
	if e := q.Get("e"); e != "" {
		n, err := strconv.ParseUint(e, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("query: e: want a whole number")
		}
		s.Epoch = schemas.Epoch(n)
	} else if len(versions) > 0 {
		return nil, fmt.Errorf("query: v without e")
	}
	for i, name := range q["g"] {
		g := schemas.AllDocuments
		if name != string(schemas.AllDocuments) {
			var err error
			if g, err = schemas.ParseDocumentID(name); err != nil {
				return nil, fmt.Errorf("query: %w", err)
			}
		}
		s.Documents = append(s.Documents, g)
		if i < len(versions) && versions[i] != "" {
			n, err := strconv.ParseUint(versions[i], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("query: v: want a whole number")
			}
			s.Versions[g] = schemas.Version(n)
		}
	}
	return s, nil
}

package fanout

import (
	"net/url"
	"testing"

	"tallystream/schemas"
)

// FuzzSubscription holds what a query asks for to what a frame could ask for.
func FuzzSubscription(f *testing.F) {
	f.Add("g=contest/c&g=county/x&e=3&v=41&v=", "3.41")
	f.Add("g=*&key=secret", "")
	f.Add("g=election&e=18446744073709551615&v=1", "18446744073709551615.x")
	f.Fuzz(func(t *testing.T, query, id string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		s, err := subscriptionOf(q)
		if err != nil {
			return
		}
		resumeAt(s, id)
		if len(s.Documents) == 0 {
			return
		}
		again, _, err := schemas.ParseClientFrame(s.AppendFrame(nil))
		if err != nil || len(again.Documents) != len(s.Documents) || again.Epoch != s.Epoch || len(again.Versions) != len(s.Versions) {
			t.Errorf("%+v cannot be asked by a frame: %+v, %v", s, again, err)
		}
	})
}

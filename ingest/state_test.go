package ingest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tallystream/ingest"
	"tallystream/schemas"
)

func (b *bench) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func states(t *testing.T, w *httptest.ResponseRecorder) []schemas.SubmissionState {
	t.Helper()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	var list []schemas.SubmissionState
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestASubmitterSeesReceivedThenWhatTheLedgerSays(t *testing.T) {
	ledger := ledgerStates{}
	b := newBench(t, func(c *ingest.Config) { c.States = ledger })
	const path = ingest.SubmissionsPath + "/leon-1101"
	if w := b.get(path); strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("nothing sent yet: %s", w.Body)
	}
	first := b.seal(t, 1, b.body(t, 1), "official-leon")
	b.receipt(t, b.post(first), first)
	digest := schemas.DigestOf([]byte(b.body(t, 1)))
	if got := states(t, b.get(path)); len(got) != 1 || got[0].State != schemas.StateReceived || got[0].Digest != digest || got[0].Unit != "leon-1101" {
		t.Errorf("states %+v, want revision 1 received", got)
	}
	ledger["leon-1101"] = []schemas.SubmissionState{
		{Unit: "leon-1101", Revision: 2, Digest: schemas.Digest{2}, State: string(schemas.EntryHeld), Hold: schemas.HoldLowered},
		{Unit: "leon-1101", Revision: 1, Digest: digest, State: string(schemas.EntryCounted)},
	}
	got := states(t, b.get(path))
	if len(got) != 2 || got[0].State != "counted" || got[1].State != "held" || got[1].Reason != schemas.HoldLowered.Explanation() {
		t.Errorf("states %+v, want 1 counted and 2 held with its reason", got)
	}
	if len(states(t, b.get(ingest.SubmissionsPath+"/leon-1102"))) != 0 {
		t.Error("another unit has states")
	}
}

func TestStatesAndProblemsTellNoCounts(t *testing.T) {
	b := newBench(t, nil)
	envelope := b.seal(t, 1, replace(t, b.body(t, 1), `"ballots":[100,50,10]`, `"ballots":[98765,50,10]`), "official-leon")
	b.receipt(t, b.post(envelope), envelope)
	if w := b.get(ingest.SubmissionsPath + "/leon-1101"); strings.Contains(w.Body.String(), "98765") {
		t.Errorf("a count: %s", w.Body)
	}
}

func TestTheReceiptKeyIsPublished(t *testing.T) {
	b := newBench(t, nil)
	if w := b.get(ingest.KeyPath); w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != b.vkey {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	b = newBench(t, func(c *ingest.Config) { c.Verifier = "" })
	problem(t, b.get(ingest.KeyPath), schemas.ProblemNotFound)
}

// TestStatesOfAHiddenUnitTellNoHash: small numbers could be tried until one has
// it.
func TestStatesOfAHiddenUnitTellNoHash(t *testing.T) {
	digest := schemas.DigestOf([]byte("a body"))
	ledger := ledgerStates{"leon-1101": {{Unit: "leon-1101", Revision: 1, Digest: digest, State: string(schemas.EntryCounted)}}}
	for _, below := range []int{0, 1000} {
		b := newBench(t, func(c *ingest.Config) {
			c.States = ledger
			d := *c.Election.Definition
			if below > 0 {
				d.Rules.Suppression = &schemas.SuppressionRule{Below: below} // leon-1102, and its neighbour with it
			}
			bytes, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if c.Election, err = schemas.OpenElection(bytes); err != nil {
				t.Fatal(err)
			}
		})
		w := b.get(ingest.SubmissionsPath + "/leon-1101")
		if got := states(t, w); len(got) != 1 || got[0].State != "counted" || strings.Contains(w.Body.String(), digest.String()) != (below == 0) {
			t.Errorf("below %d: %s", below, w.Body)
		}
	}
}

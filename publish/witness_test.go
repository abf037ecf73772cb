package publish_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish"
	"tallystream/publish/log"
	"tallystream/publish/log/witness"
	"tallystream/schemas"
)

// within answers requests with a handler, without a network.
type within struct{ http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	out := httptest.NewRecorder()
	w.ServeHTTP(out, r)
	return out.Result(), nil
}

// hung is a witness that never answers.
type hung struct{}

func (hung) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// remembered is a witness's state.
type remembered map[string][]byte

func (m remembered) Load(origin string) ([]byte, error)   { return m[origin], nil }
func (m remembered) Save(origin string, b []byte) error   { m[origin] = bytes.Clone(b); return nil }
func (m remembered) Keep(evidence []byte) (string, error) { return "", errors.New(string(evidence)) }

// witnessed is a client of a witness of that name, and what it answers with.
func witnessed(t *testing.T, e *election, name string) (*witness.Client, http.Handler) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	private, vkey, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := log.NewCosigner(signer, vkey, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := log.ParseCosignatory(cosigner.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	w := witness.New(witness.Config{Logs: []note.Verifier{e.verifier}, Signer: cosigner, State: remembered{}, Logger: slog.New(slog.DiscardHandler)})
	return &witness.Client{URL: "http://" + name, Key: key}, w.Handler()
}

// TestWitnessesCosignAndNoneHoldsUpPublication: of two witnesses one never
// answers.
func TestWitnessesCosignAndNoneHoldsUpPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		good, handler := witnessed(t, e, "good.example")
		good.HTTP = &http.Client{Transport: within{handler}}
		dead, _ := witnessed(t, e, "dead.example")
		dead.HTTP = &http.Client{Transport: hung{}}
		n := begin(t, b, store.process(nil), newViewer(t, store), func(c *publish.Config) { c.Witnesses = []*witness.Client{good, dead} })
		time.Sleep(2 * time.Second) // the first waits a second for the dead one
		if n.Latest().Number != 1 {
			t.Errorf("after two seconds: %+v", n.Latest())
		}
		for i := range 5 {
			b.count("fir.1", schemas.Revision(i+1), row(1, 9, 9, 1, schemas.Count(i), 2, 2, 2))
			n.hint()
			time.Sleep(1100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if got := n.Latest(); got.Number < 5 { // waiting for the dead one each time would allow two
			t.Errorf("a dead witness slows snapshots down: %d in 8.5 seconds", got.Number)
		}
		checkpoint := store.must(log.CheckpointKey)
		signed, err := log.ParseNote(checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[note.Verifier]bool{good.Key: true, dead.Key: false, e.verifier: true} {
			if got, err := signed.SignedBy(key); got != want || err != nil {
				t.Errorf("signed by %s: %t, %v", key.Name(), got, err)
			}
		}
		n.mustEnd()
	})
}

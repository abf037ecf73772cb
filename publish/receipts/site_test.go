package receipts_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/receipts"
	"tallystream/schemas"
)

// verifierKey is the public half of key, as text.
func verifierKey(t *testing.T, name string) string {
	t.Helper()
	seed := sha256.Sum256([]byte("test key " + name))
	_, verifier, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

// TestASubmitterFindsTheProofAtTheSite: server and submitter take the key that
// the site names, or the one that the submitter knows from elsewhere.
func TestASubmitterFindsTheProofAtTheSite(t *testing.T) {
	p := newPublication(t)
	vkey := verifierKey(t, origin)
	mux := http.NewServeMux()
	receipts.NewServer(receipts.Config{Bucket: p, Now: ticking(), Logger: slog.New(slog.DiscardHandler)}).Register(mux)
	mux.HandleFunc("GET /config.json", func(w http.ResponseWriter, r *http.Request) {
		b, err := p.Get(r.Context(), "config.json")
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	l, receipt := p.entry(schemas.EntryCounted, "", "oak.1", "one")
	p.add(l)
	if _, err := receipts.AwaitAt(t.Context(), s.URL, "", receipt); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("a site without settings: %v", err)
	}
	p.objects["config.json"] = fmt.Appendf(nil, `{"election":"test","key":%q}`, vkey)
	for _, known := range []string{"", vkey} {
		proof, err := receipts.AwaitAt(t.Context(), s.URL, known, receipt)
		if err != nil {
			t.Fatal(err)
		}
		if proof.Index != 0 || proof.Outcome != schemas.EntryCounted || len(proof.Bundle) == 0 {
			t.Errorf("proof %+v", proof)
		}
	}
	if _, err := receipts.AwaitAt(t.Context(), s.URL, verifierKey(t, "other.example.org/test"), receipt); err == nil {
		t.Error("a key of another log was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, missing := p.entry(schemas.EntryCounted, "", "oak.9", "nine")
	if _, err := receipts.AwaitAt(ctx, s.URL, vkey, missing); err == nil {
		t.Error("what is not in the log was proven")
	}
}

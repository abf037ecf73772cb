package log_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counting counts the bundles that were asked for.
type counting struct {
	*store
	bundles atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, "tile/entries/") {
		c.bundles.Add(1)
	}
	return c.store.Get(ctx, key)
}

func TestASlowConsumerIsReadAheadByAFewBundlesOnly(t *testing.T) {
	s := newStore()
	edge := grow(t, &log.Edge{}, s, leavesOf(100*log.TileWidth, "a")...)
	synctest.Test(t, func(t *testing.T) {
		c := &counting{store: s}
		for range log.NewReader(c, edge.Tree()).Entries(t.Context(), 0) {
			synctest.Wait() // all that runs ahead has come to rest
			break
		}
		// Some are worked on, as many wait, one is consumed and one is being queued.
		if n, most := c.bundles.Load(), int64(2*max(runtime.GOMAXPROCS(0), 8)+2); n > most {
			t.Errorf("%d bundles were read, want at most %d", n, most)
		}
	})
}

func TestATreeOfThreeLevels(t *testing.T) {
	const n = 66_000 // beyond 256 * 256
	leaves := leavesOf(n, "a")
	s, edge := newStore(), &log.Edge{}
	for at := 0; at < n; at += 7_000 {
		edge = grow(t, edge, s, leaves[at:min(n, at+7_000)]...)
	}
	if got, want := edge.Tree().Hash, naiveRoot(leaves); got != want {
		t.Fatalf("root %v, want %v by RFC 6962", got, want)
	}
	for _, key := range []string{"tile/2/000.p/1", "tile/1/000", "tile/1/001.p/1", "tile/0/257.p/208", "tile/entries/257.p/208"} {
		if _, err := s.Get(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	r := log.NewReader(s, edge.Tree())
	for _, index := range []int64{0, 65_535, 65_536, n - 1} {
		p, err := r.Inclusion(t.Context(), index)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(p, n, edge.Tree().Hash, index, tlog.RecordHash(leaves[index])); err != nil {
			t.Error(err)
		}
	}
	got, err := entriesOf(t.Context(), r, 65_000)
	if err != nil || len(got) != n-65_000 || !bytes.Equal(got[0], leaves[65_000]) {
		t.Errorf("%d entries, %v", len(got), err)
	}
	opened, err := r.OpenEdge(t.Context())
	if err != nil || opened.Tree() != edge.Tree() {
		t.Errorf("%v", err)
	}
}

func TestALogIsReadFromADirectoryAndOverHTTPAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	leaves := leavesOf(300, "a")
	s := newStore()
	edge := grow(t, &log.Edge{}, s, leaves...)
	for key, b := range s.objects {
		path := filepath.Join(dir, "public", filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(filepath.Join(dir, "public")))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			for range log.MaxBundle/4096 + 2 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
			return
		}
		if r.URL.Path == "/broken" {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for _, location := range []string{filepath.Join(dir, "public"), server.URL, server.URL + "/"} {
		tiles, err := log.Open(location)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := entriesOf(t.Context(), log.NewReader(tiles, edge.Tree()), 0); err != nil || len(got) != len(leaves) {
			t.Errorf("%s: %d entries, %v", location, len(got), err)
		}
		for _, key := range []string{"tile/0/007", "checkpoint"} {
			if _, err := tiles.Get(t.Context(), key); !errors.Is(err, log.ErrAbsent) {
				t.Errorf("%s: %s: %v", location, key, err)
			}
		}
		if b, err := tiles.Get(t.Context(), "../secret"); err == nil {
			t.Errorf("%s: read %q outside", location, b)
		}
	}
	tiles, err := log.Open(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"endless", "broken"} {
		if _, err := tiles.Get(t.Context(), key); err == nil || errors.Is(err, log.ErrAbsent) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, location := range []string{filepath.Join(dir, "nowhere"), "ftp://x/", "https://", "http://%zz/"} {
		if _, err := log.Open(location); err == nil {
			t.Errorf("%q was opened", location)
		}
	}
}

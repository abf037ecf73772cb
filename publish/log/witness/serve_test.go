package witness_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"tallystream/publish/log"
	"tallystream/publish/log/witness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func post(t *testing.T, url string, body []byte) (int, string, string) {
	t.Helper()
	res, err := http.Post(url+"/add-checkpoint", "text/plain", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(b)
}

func TestAnswersAreThoseOfTheSpecification(t *testing.T) {
	w, _ := newWitness(t, newMemory())
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	l := newLog(t)
	first := l.grow(10, "a")
	fork := l.fork()
	second, forked := l.grow(10, "a"), fork.grow(10, "b")
	body := func(old int64, checkpoint []byte, proof bool) []byte {
		r := &witness.Request{Old: old, Checkpoint: checkpoint}
		if proof {
			r.Proof = l.consistency(old)
		}
		return r.Append(nil)
	}
	_, _, stranger := key(t, "stranger")
	strange, err := (&log.Checkpoint{Origin: origin, Tree: l.edge.Tree()}).Sign(stranger)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		body   []byte
		status int
		want   string
	}{
		{"first", body(0, first, false), 200, "— witness.example/w1 "},
		{"stale", body(0, second, false), 409, "10\n"},
		{"no proof", body(10, second, false), 422, ""},
		{"next", body(10, second, true), 200, "— witness.example/w1 "},
		{"again", body(20, second, false), 200, "— witness.example/w1 "},
		{"fork", body(20, forked, false), 409, "20\n"},
		{"rollback", body(10, first, false), 409, "20\n"},
		{"beyond", body(30, second, false), 400, ""},
		{"other log", body(0, bytes.Replace(second, []byte(origin), []byte("elsewhere"), 1), false), 404, ""},
		{"other key", body(20, strange, false), 403, ""},
		{"no request", []byte("hello"), 400, ""},
		{"too large", make([]byte, witness.MaxRequest+1), 413, ""},
	} {
		status, kind, answer := post(t, server.URL, c.body)
		if status != c.status || !strings.HasPrefix(answer, c.want) {
			t.Errorf("%s: %d %q, want %d %q", c.name, status, answer, c.status, c.want)
		}
		if status == 409 && kind != witness.SizeMediaType {
			t.Errorf("%s: content type %q", c.name, kind)
		}
	}
	res, err := http.Get(server.URL + "/checkpoint/" + witness.ID(origin))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if c, peekErr := log.PeekCheckpoint(b); err != nil || peekErr != nil || c.Tree != l.edge.Tree() {
		t.Errorf("the newest checkpoint: %q, %v, %v", b, err, peekErr)
	}
}

func TestALogGetsItsCosignaturesWhateverItRemembers(t *testing.T) {
	w, v := newWitness(t, newMemory())
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	l := newLog(t)
	c := &witness.Client{URL: server.URL + "/", Key: v, HTTP: server.Client()}
	for i := range 3 {
		checkpoint := l.grow(100, "a")
		line, err := c.Cosign(t.Context(), log.NewReader(l.bucket, l.edge.Tree()), checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		if _, added, err := log.AddSignatures(checkpoint, line, v); added != 1 || err != nil {
			t.Fatalf("%d added, %v", added, err)
		}
		if i == 1 { // the log restarts and has forgotten where the witness is
			c = &witness.Client{URL: server.URL, Key: v, HTTP: server.Client()}
		}
	}
	fork := newLog(t)
	forked := fork.grow(300, "b")
	if _, err := c.Cosign(t.Context(), log.NewReader(fork.bucket, fork.edge.Tree()), forked); err == nil {
		t.Error("a fork was cosigned")
	}
}

func TestALogTakesNothingFromAWitnessThatItCannotCheck(t *testing.T) {
	l := newLog(t)
	checkpoint := l.grow(100, "a")
	_, v := newWitness(t, newMemory())
	own := log.Signature{Name: v.Name(), Hash: v.KeyHash(), Bytes: make([]byte, 72)}
	for name, answer := range map[string]http.HandlerFunc{
		"a false signature": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(own.Append(nil)) },
		"nothing":           func(http.ResponseWriter, *http.Request) {},
		"another size each time": func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, map[bool]string{true: "7\n", false: "8\n"}[bytes.HasPrefix(b, []byte("old 8\n"))])
		},
		"a size beyond ours": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, "101\n")
		},
		"no size": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
		"no":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
	} {
		server := httptest.NewServer(answer)
		c := &witness.Client{URL: server.URL, Key: v, HTTP: server.Client()}
		if line, err := c.Cosign(t.Context(), log.NewReader(l.bucket, l.edge.Tree()), checkpoint); err == nil {
			t.Errorf("%s: took %q", name, line)
		}
		server.Close()
	}
}

func TestTooManyRequestsAreToldToWait(t *testing.T) {
	w, _ := newWitness(t, newMemory())
	h := w.Handler()
	for range 1000 {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("POST", "/add-checkpoint", strings.NewReader("x")))
		if rec.Code == http.StatusTooManyRequests && rec.Header().Get("Retry-After") != "" {
			return
		}
	}
	t.Error("a thousand requests at once were all taken")
}

func TestADirectoryRemembersAndLetsOneWitnessIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	d, err := witness.OpenDirectory(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := witness.OpenDirectory(path); !errors.Is(err, witness.ErrLocked) {
		t.Errorf("a second witness: %v", err)
	}
	l := newLog(t)
	w, _ := newWitness(t, d)
	checkpoint := l.grow(10, "a")
	if _, err := w.Add(t.Context(), &witness.Request{Checkpoint: checkpoint}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = witness.OpenDirectory(path); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, _ = newWitness(t, d)
	if seen, err := w.Seen(origin); err != nil || seen != l.edge.Tree() {
		t.Errorf("after a restart: %v, %v", seen, err)
	}
	files, err := filepath.Glob(filepath.Join(path, "*.checkpoint"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 5, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(files[0], whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		w, _ = newWitness(t, d)
		if line, err := w.Add(t.Context(), &witness.Request{Checkpoint: checkpoint}); err == nil {
			t.Errorf("a state cut at %d counts as nothing seen: %q", cut, line)
		}
	}
}

func TestTheCommandCosignsAPublishedDirectory(t *testing.T) {
	dir := t.TempDir()
	l := newLog(t)
	l.grow(700, "a")
	for k, b := range l.bucket {
		path := filepath.Join(dir, "public", filepath.FromSlash(k))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	private, _, _ := key(t, "witness.example/w1")
	keyFile := filepath.Join(dir, "witness.key")
	if err := os.WriteFile(keyFile, []byte(private+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, logVKey, _ := key(t, origin)
	_, v := newWitness(t, newMemory())
	run := func(source string) error {
		var c witness.Command
		out := filepath.Join(dir, "out")
		parser, err := kong.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse([]string{source, "--key", keyFile, "--log", logVKey, "--state", filepath.Join(dir, "state"), "--once", "--out", out}); err != nil {
			t.Fatal(err)
		}
		return c.Run(t.Context(), discard)
	}
	if err := run(filepath.Join(dir, "public")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := log.ParseNote(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := v.CosignedAt(n); !ok || err != nil {
		t.Errorf("cosigned %v, %v", ok, err)
	}
	// The same over HTTP, and after the log was rolled back.
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(dir, "public"))))
	defer server.Close()
	if err := run(server.URL); err != nil {
		t.Error(err)
	}
	early := newLog(t)
	if err := os.WriteFile(filepath.Join(dir, "public", "checkpoint"), early.grow(5, "a"), 0o644); err != nil {
		t.Fatal(err)
	}
	var rollback *witness.RollbackError
	if err := run(server.URL); !errors.As(err, &rollback) {
		t.Errorf("rolled back: %v", err)
	}
}

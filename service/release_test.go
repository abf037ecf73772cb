package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/service"
)

// answer is what a pointer says.
type answer struct {
	text  string
	err   error
	hangs bool
}

// pointer answers as it is told, and counts.
type pointer struct {
	mu    sync.Mutex // guards all below
	says  answer
	reads int
}

func (*pointer) String() string { return "a pointer" }

func (p *pointer) now(a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says = a
}

func (p *pointer) Read(ctx context.Context) ([]byte, error) {
	p.mu.Lock()
	p.reads++
	a := p.says
	p.mu.Unlock()
	if a.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []byte(a.text), a.err
}

func looks(t *testing.T, r *prometheus.Registry, v service.Verdict) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "tallystream_release_looks_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == string(v) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no count of %s", v)
	return 0
}

func TestOnlyAnotherReleaseTakesAProcessOut(t *testing.T) {
	for _, c := range []struct {
		name    string
		says    answer
		verdict service.Verdict
		status  int
		logged  string // level and text, or nothing
	}{
		{"the right release", answer{text: "r2\n"}, service.RightRelease, 200, `level=INFO msg="this is the release that should run"`},
		{"another release", answer{text: "r3"}, service.WrongRelease, 503, `level=WARN msg="this is not the release that should run`},
		{"no pointer", answer{err: service.ErrNoPointer}, service.NoPointer, 200, `level=WARN msg="there is no release pointer`},
		{"the store fails", answer{err: errors.New("HTTP 500")}, service.PointerFailing, 200, `level=ERROR msg="release pointer cannot be read`},
		{"the pointer is a page of a proxy", answer{text: "<html>sign in</html>"}, service.PointerFailing, 200, `level=ERROR`},
		{"the pointer is empty", answer{text: "\n"}, service.PointerFailing, 200, `level=ERROR`},
		{"the pointer is endless", answer{text: strings.Repeat("r2", 100)}, service.PointerFailing, 200, `level=ERROR`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			p := &pointer{says: c.says}
			s := service.NewStatus()
			w := service.NewReleaseWatch("r2", p, s.Registry, slog.New(slog.NewTextHandler(&log, nil)))
			s.Release(w.Check)
			if v := w.Look(t.Context()); v != c.verdict {
				t.Errorf("verdict %s, want %s", v, c.verdict)
			}
			if n := looks(t, s.Registry, c.verdict); n != 1 {
				t.Errorf("the verdict is counted %v times", n)
			}
			if !strings.Contains(log.String(), c.logged) {
				t.Errorf("logged %q, want %q", log.String(), c.logged)
			}
			mux := http.NewServeMux()
			s.Register(mux)
			for path, want := range map[string]int{"/healthz": 200, "/healthz?release=": c.status, "/healthz?release=current": c.status, "/readyz": 200} {
				res := httptest.NewRecorder()
				mux.ServeHTTP(res, httptest.NewRequest("GET", path, nil))
				if res.Code != want {
					t.Errorf("%s: %d %s, want %d", path, res.Code, res.Body, want)
				}
				if want == 503 && !strings.Contains(res.Body.String(), "this is release r2, and r3 should run") {
					t.Errorf("%s says %q", path, res.Body)
				}
			}
			if p.reads != 1 {
				t.Errorf("requests read the pointer: %d reads", p.reads)
			}
		})
	}
}

func TestAProcessFollowsThePointerAndAFailingStoreEmptiesNoFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pointer{says: answer{text: "r1"}}
		registry := prometheus.NewRegistry()
		w := service.NewReleaseWatch("r1", p, registry, slog.New(slog.DiscardHandler))
		w.Look(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		for _, step := range []struct {
			now answer
			in  bool
		}{
			{answer{text: "r2"}, false},               // the release moves on
			{answer{err: errors.New("down")}, true},   // nobody knows any more
			{answer{text: "r2"}, false},               //
			{answer{hangs: true}, true},               // a store that does not answer is cut off
			{answer{text: "r1"}, true},                // and back
			{answer{err: service.ErrNoPointer}, true}, // the pointer is deleted
			{answer{text: " r2 \r\n"}, false},         // and written by an editor
			{answer{err: context.Canceled}, true},     //
			{answer{text: "r1\n"}, true},              //
		} {
			p.now(step.now)
			time.Sleep(service.ReleaseEvery + 3*time.Second) // the longest read among them
			synctest.Wait()
			if err := w.Check(); (err == nil) != step.in {
				t.Errorf("with %+v: %v", step.now, err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := looks(t, registry, service.PointerFailing); n < 3 {
			t.Errorf("%v failures are counted, want 3 or more", n)
		}
	})
}

func TestAMissingPointerIsToldOnceAndAFailingOneEachTime(t *testing.T) {
	var log bytes.Buffer
	p := &pointer{says: answer{err: service.ErrNoPointer}}
	w := service.NewReleaseWatch("r1", p, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		w.Look(t.Context())
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings", n)
	}
	p.now(answer{err: errors.New("down")})
	for range 3 {
		w.Look(t.Context())
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 3 {
		t.Errorf("%d errors", n)
	}
}

func TestWithoutAPointerEveryReleaseIsRight(t *testing.T) {
	mux := http.NewServeMux()
	service.NewStatus().Register(mux)
	res := httptest.NewRecorder()
	mux.ServeHTTP(res, httptest.NewRequest("GET", "/healthz?release=current", nil))
	if res.Code != 200 || res.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", res.Code, res.Header())
	}
}

func TestAReleaseHasANameThatFitsALineAndALabel(t *testing.T) {
	for _, good := range []string{"v1.2.3", "a1b2c3d4e5f6", "2026-11-03_2+hotfix", strings.Repeat("x", 64)} {
		if r, err := service.ParseRelease(good); err != nil || string(r) != good {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " r1", "r1\n", "r/1", "r\"1", "é", strings.Repeat("x", 65)} {
		if r, err := service.ParseRelease(bad); err == nil {
			t.Errorf("%q was taken for %q", bad, r)
		}
	}
}

// s3Getter answers as S3 does.
type s3Getter struct {
	body string
	err  error
}

func (g s3Getter) GetObject(_ context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	if *in.Bucket != "bucket" || *in.Key != "ops/release" {
		return nil, errors.New("asked for " + *in.Bucket + " " + *in.Key)
	}
	return &s3.GetObjectOutput{Body: io.NopCloser(strings.NewReader(g.body))}, g.err
}

// Each kind of place tells a pointer that is not there from one that cannot be read.
func TestPointersOfAllKindsAnswerAlike(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "release"), []byte("r1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/release":
			_, _ = io.WriteString(w, "r1\n")
		case "/moved":
			http.Redirect(w, r, "/release", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/endless":
			for range 1000 {
				_, _ = io.WriteString(w, strings.Repeat("r1", 500))
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	const there, missing, failing = "there", "missing", "failing"
	for _, c := range []struct {
		where string
		s3    s3Getter
		want  string
	}{
		{where: filepath.Join(dir, "release"), want: there},
		{where: filepath.Join(dir, "nothing"), want: missing},
		{where: dir, want: failing},
		{where: web.URL + "/release", want: there},
		{where: web.URL + "/nothing", want: missing},
		{where: web.URL + "/broken", want: failing},
		{where: web.URL + "/moved", want: failing},
		{where: web.URL + "/endless", want: failing},
		{where: "http://127.0.0.1:1/release", want: failing},
		{where: "s3://bucket/ops/release", s3: s3Getter{body: "r1"}, want: there},
		{where: "s3://bucket/ops/release", s3: s3Getter{err: &types.NoSuchKey{}}, want: missing},
		{where: "s3://bucket/ops/release", s3: s3Getter{err: errors.New("AccessDenied")}, want: failing},
		{where: "s3://bucket/ops/release", s3: s3Getter{err: &types.NoSuchBucket{}}, want: failing},
	} {
		p, err := service.OpenPointer(c.where, func() (service.S3Getter, error) { return c.s3, nil })
		if err != nil {
			t.Errorf("%s: %v", c.where, err)
			continue
		}
		b, err := p.Read(t.Context())
		got := there
		if _, bad := service.ParseRelease(strings.TrimSpace(string(b))); err == nil && bad != nil || err != nil {
			got = failing
		}
		if errors.Is(err, service.ErrNoPointer) {
			got = missing
		}
		if got != c.want || len(b) > 1024 {
			t.Errorf("%s: %s (%d bytes, %v), want %s", c.where, got, len(b), err, c.want)
		}
	}
	for _, bad := range []string{"s3://bucket", "s3://bucket/", "https://", "ftp://host/release", "http://%zz/"} {
		if _, err := service.OpenPointer(bad, nil); err == nil || !strings.Contains(err.Error(), "--release-pointer") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if p, err := service.OpenPointer("https://user:secret@host/release", nil); err != nil || strings.Contains(p.String(), "secret") {
		t.Errorf("a pointer's name shows its password: %v, %v", p, err)
	}
}

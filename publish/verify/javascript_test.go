package verify_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tallystream/publish/verify"
)

// The second implementation (publish/prove), in JavaScript, is held against the
// same night and the same attacks: two programs that share no code must agree
// about every one of them.

// variant is what verify_many.mjs takes, a line each.
type variant struct {
	Name     string            `json:"name,omitempty"`
	Verifier string            `json:"verifier,omitempty"`
	All      bool              `json:"all,omitempty"`
	Objects  map[string][]byte `json:"objects,omitempty"` // of the night itself
	Changed  map[string][]byte `json:"changed,omitempty"`
	Gone     []string          `json:"gone,omitempty"`
}

// opinion is what the other implementation makes of one.
type opinion struct {
	Name   string        `json:"name"`
	Report verify.Report `json:"report"`
}

func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node here to run the verifier in JavaScript: ", err)
	}
	files, err := filepath.Glob("../prove/*js")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, f := range files { // node reads them, which go test does not see when it asks whether anything changed
		if _, err := os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// against is a site as a variant of the night.
func against(night, s site) variant {
	v := variant{Verifier: keyOf(origin), Changed: map[string][]byte{}}
	for key, b := range s {
		if old, ok := night[key]; !ok || !bytes.Equal(old, b) {
			v.Changed[key] = b
		}
	}
	for key := range night {
		if _, ok := s[key]; !ok {
			v.Gone = append(v.Gone, key)
		}
	}
	return v
}

// askJavaScript verifies variants of a night in one process of node.
func askJavaScript(t *testing.T, night site, variants []variant, env ...string) map[string]verify.Report {
	t.Helper()
	var in, complaints bytes.Buffer
	lines := json.NewEncoder(&in)
	for _, v := range append([]variant{{Objects: night}}, variants...) {
		if err := lines.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node(t), "--no-warnings", "../prove/verify_many.mjs")
	cmd.Stdin, cmd.Stderr, cmd.Env = &in, &complaints, append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	got := map[string]verify.Report{}
	s := bufio.NewScanner(bytes.NewReader(out))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var o opinion
		if err := json.Unmarshal(s.Bytes(), &o); err != nil {
			t.Fatalf("%v: %s", err, s.Bytes())
		}
		got[o.Name] = o.Report
	}
	return got
}

// followsInJavaScript verifies a night whose roster or keys changed.
func followsInJavaScript(t *testing.T, late site, key string, counted uint64) {
	t.Helper()
	v := against(late, late)
	v.Name, v.Verifier, v.All = "late", key, true
	if r := askJavaScript(t, late, []variant{v})["late"]; r.Verdict != verify.Verified || r.Counted != counted {
		t.Error(print(&r))
	}
}

func TestJavaScriptDetectsEveryAttack(t *testing.T) {
	t.Parallel()
	n := play(t)
	var variants []variant
	by := map[string]verify.Check{}
	for _, a := range attacks {
		if a.state {
			continue // it keeps none between runs
		}
		f := newForger(t, n)
		a.do(f)
		v := against(n.late, f.site)
		if v.Name, v.All = a.name, a.all; a.key != "" {
			v.Verifier = keyAs(a.key)
		}
		variants, by[a.name] = append(variants, v), a.by
	}
	got := askJavaScript(t, n.late, variants)
	for name, check := range by {
		r := got[name]
		if r.Verdict != verify.Failed {
			t.Errorf("%s: not detected:\n%s", name, print(&r))
		}
		found := false
		for i := range r.Findings {
			found = found || r.Findings[i].Check == check
		}
		if !found {
			t.Errorf("%s: want a finding of %s in\n%s", name, check, print(&r))
		}
	}
	t.Logf("%d attacks", len(by))
}

func TestJavaScriptCountsTheSameNight(t *testing.T) {
	t.Parallel()
	n := play(t)
	same := func(b []byte) []byte { return b }
	f := newForger(t, n)
	f.republish("contest/president", "documents", ".ndjson", same).republish("csv/ash.csv", "csv", ".csv", same).relog()
	variants := []variant{against(n.late, n.late), against(n.late, n.late), against(n.late, n.early), against(n.late, f.site)}
	for i, name := range []string{"newest", "all", "early", "made anew"} {
		variants[i].Name, variants[i].All = name, name == "all"
	}
	for _, env := range []string{"WEBCRYPTO=", "WEBCRYPTO=1"} {
		got := askJavaScript(t, n.late, variants, env)
		for _, v := range variants {
			r := got[v.Name]
			if r.Verdict != verify.Verified {
				t.Errorf("%s %s:\n%s", env, v.Name, print(&r))
			}
		}
		want, _ := check(t, verify.Options{Source: n.late, All: true})
		r := got["all"]
		if r.Leaves != want.Leaves || r.Root != want.Root || r.Counted != want.Counted || r.Superseded != want.Superseded ||
			r.Released != want.Released || r.Lapsed != want.Lapsed || r.Movements != want.Movements || r.Open != want.Open || !maps.Equal(r.Held, want.Held) ||
			r.Snapshots != want.Snapshots || r.Documents != want.Documents || r.Lines != want.Lines {
			t.Errorf("in JavaScript\n%sin Go\n%s", print(&r), print(want))
		}
	}
}

func TestJavaScriptCommandSaysWhatItFound(t *testing.T) {
	n := play(t)
	right, wrong := lay(t, n.late), lay(t, n.late)
	f := newForger(t, n)
	file := filepath.Join(wrong, filepath.FromSlash(f.named("county/oak").Key))
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, oneMore(`"yes":[`)(b), 0o644); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(right)))
	t.Cleanup(server.Close)
	key := "--key=" + keyOf(origin)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a directory", []string{right, key}, 0, "VERIFIED in"},
		{"a site", []string{server.URL, key, "--all", "--json"}, 0, `"verdict": "verified"`},
		{"in threads", []string{right, key, "--workers=2", "--webcrypto"}, 0, "VERIFIED in"},
		{"the site's own key", []string{server.URL}, 0, "compare it with one from elsewhere"},
		{"another's key", []string{right, "--key=" + keyOf("intruder")}, 1, "not signed by a known key"},
		{"one vote", []string{wrong, key, "-q"}, 1, "county/oak"},
		{"no key", []string{right, "--key=nonsense"}, 2, "want name+hash+key"},
		{"nothing", nil, 2, "want one URL or directory"},
		{"nobody", []string{"http://127.0.0.1:1", key}, 3, "fetch failed"},
		{"help", []string{"--help"}, 0, "Exit status:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), node(t), append([]string{"--no-warnings", "../prove/cli.mjs"}, c.args...)...).CombinedOutput()
			var ended *exec.ExitError
			if err != nil && !errors.As(err, &ended) {
				t.Fatal(err)
			}
			code := 0
			if ended != nil {
				code = ended.ExitCode()
			}
			if code != c.code || !strings.Contains(string(out), c.says) {
				t.Errorf("status %d, want %d with %q in\n%s", code, c.code, c.says, out)
			}
		})
	}
}

// lay writes a site into a directory.
func lay(t *testing.T, s site) string {
	t.Helper()
	dir := t.TempDir()
	for key, b := range s {
		file := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

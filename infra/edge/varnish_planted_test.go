package edge

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var planted = flag.Bool("planted", false, "plant mistakes into edge.vcl and want each to be found by its script; about a minute")

// TestScriptsFindPlantedMistakes shows that the scripts of testdata/varnish can fail.
func TestScriptsFindPlantedMistakes(t *testing.T) {
	if !*planted {
		t.Skip("not asked for: go test ./infra/edge -run Planted -planted")
	}
	program := findVarnish(t, "varnishtest")
	for _, m := range []struct{ script, was, is string }{
		{"one-fetch-for-a-crowd", "    hash_data(req.url);\n", "    hash_data(req.url);\n    hash_data(req.xid);\n"},
		{"one-fetch-for-a-crowd", `regsub(req.url, "\?.*$", "")`, `regsub(req.url, "\?never$", "")`},
		{"stale-while-one-fetches", "set req.grace = 2s;", "set req.grace = 0s;"},
		{"stale-while-one-fetches", "    unset req.http.Cookie;\n", ""},
		{"failing-origins-leave-the-stale-one", "    set req.grace = 24h;\n", "    set req.grace = 2s;\n"},
		{"failing-origins-leave-the-stale-one", "        return (restart);\n", ""},
		{"dead-origins-leave-the-stale-one", "        set req.grace = 24h;\n", "        set req.grace = 1s;\n"},
		{"sick-origins-are-not-waited-for", "        set req.grace = 24h;\n", "        set req.grace = 1s;\n"},
		{"the-other-origin-is-asked", "        set bereq.backend = replica;\n", ""},
		{"the-other-origin-is-asked", "beresp.status == 404 || ", ""},
		{"headers-that-tell-nothing", "    unset beresp.http.Set-Cookie;\n", ""},
		{"headers-that-tell-nothing", "    unset resp.http.Via;\n", ""},
		{"headers-that-tell-nothing", "    unset req.http.Proxy;\n", ""},
		{"submissions-are-passed-once", "    set req.backend_hint = ingest;\n    return (pass);\n", "    set req.backend_hint = ingest;\n    return (hash);\n"},
		{"submissions-are-passed-once", "    if (bereq.uncacheable) {\n        return (deliver);\n    }\n    unset beresp", "    unset beresp"},
	} {
		dir := site(t, readRules(t, "none"), false)
		text := readText(t, "varnish/edge.vcl")
		if strings.Count(text, m.was) == 0 {
			t.Errorf("%s: %q is not in edge.vcl", m.script, m.was)
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "edge.vcl"), []byte(strings.Replace(text, m.was, m.is, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		c := exec.CommandContext(ctx, program, "-t", "15", "-Ddir="+dir, "testdata/varnish/"+m.script+".vtc")
		out, err := c.CombinedOutput()
		cancel()
		if err == nil || strings.Contains(string(out), "VCL compilation failed") {
			t.Errorf("%s does not notice that %q became %q\n%s", m.script, m.was, m.is, complaints(string(out)))
		}
	}
}

package edge

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// findVarnish skips where the program is not installed.
func findVarnish(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not on this machine (package varnish)", program)
	}
	return path
}

// site puts the files of an edge into a directory, site.vcl with sockets in that
// directory in the place of the three origins.
func site(t testing.TB, rules Pairs, probes bool) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // varnishd reads as another user
		t.Fatal(err)
	}
	text := readText(t, "varnish/site.vcl")
	for _, origin := range []struct{ name, port string }{{"home", "8080"}, {"replica", "8090"}, {"ingest", "8081"}} {
		was := "    .host = \"127.0.0.1\";\n    .port = \"" + origin.port + "\";\n"
		if !strings.Contains(text, was) {
			t.Fatalf("site.vcl has no origin at port %s", origin.port)
		}
		text = strings.Replace(text, was, "    .path = \""+filepath.Join(dir, origin.name)+"\";\n", 1)
	}
	if !probes {
		text = strings.ReplaceAll(text, "    .probe = well;\n", "")
		text = regexp.MustCompile(`(?s)probe well \{.*?\n\}\n`).ReplaceAllString(text, "")
	}
	// A busy machine's origins answer late, which is not what is tested.
	text = regexp.MustCompile(`(?m)^(    \.(connect_timeout|first_byte_timeout|timeout) =) .*;$`).ReplaceAllString(text, "$1 60s;")
	for name, b := range map[string]string{"site.vcl": text, "edge.vcl": readText(t, "varnish/edge.vcl"), "rules.vcl": rules.VCL()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func readText(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// varnishtest plays a script, in which ${dir} is the edge's directory.
func varnishtest(t *testing.T, dir, script string) error {
	t.Helper()
	program := findVarnish(t, "varnishtest")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	file := filepath.Join(dir, "script.vtc")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, program, "-t", "280", "-Ddir="+dir, file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("varnishtest: %w\n%s", err, complaints(string(out)))
	}
	return nil
}

// complaints are the lines of a failed script's long log that lead up to its end.
func complaints(out string) string {
	var kept []string
	for line := range strings.SplitSeq(out, "\n") {
		if strings.Contains(line, "vsl|") || strings.Contains(line, "CLI") || strings.Contains(line, " dT ") || strings.Contains(line, "macro def") {
			continue
		}
		kept = append(kept, line)
		if strings.HasPrefix(line, "---- ") {
			break
		}
	}
	return strings.Join(kept[max(0, len(kept)-40):], "\n")
}

// TestVarnishAnswersAsTheTableSays plays the same table as the functions.
func TestVarnishAnswersAsTheTableSays(t *testing.T) {
	findVarnish(t, "varnishtest")
	byRules := map[string][]edgeCase{}
	for _, c := range readCases(t) {
		byRules[c.Rules] = append(byRules[c.Rules], c)
	}
	for rules, cases := range byRules {
		t.Run(rules, func(t *testing.T) {
			t.Parallel()
			var script strings.Builder
			script.WriteString(tableHead)
			for _, c := range cases {
				writeCase(&script, c)
			}
			if err := varnishtest(t, site(t, readRules(t, rules), false), script.String()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The origin stands in for all three, and refuses what must not reach it.
const tableHead = `varnishtest "the table of cases"

server s0 -listen "${dir}/home" {
	rxreq
	expect req.http.Cookie == <undef>
	expect req.http.X-Edge-Role == <undef>
	expect req.http.X-Edge-Verdict == <undef>
	expect req.http.X-Viewer-Country == <undef>
	txresp -hdr "Connection: close" -hdr "Cache-Control: public, max-age=0"
} -dispatch

shell {ln -s ${dir}/home ${dir}/ingest && ln -s ${dir}/home ${dir}/replica}

varnish v1 -proto PROXY -arg "-p vcl_path=${dir}" -vcl {
	vcl 4.1;
	sub vcl_deliver {
		set resp.http.X-Test-URL = req.url;
	}
	include "${dir}/edge.vcl";
} -start
`

var hostNames = map[Host]string{Results: "results.example.org", Ingest: "submit.example.org"}

func writeCase(b *strings.Builder, c edgeCase) {
	ip := c.IP
	if ip == "" {
		ip = "192.0.2.200"
	}
	proxied := ip + ":1234 127.0.0.1:80"
	if strings.Contains(ip, ":") {
		proxied = "[" + ip + "]:1234 [::1]:80"
	}
	fmt.Fprintf(b, "\n# %s\nclient c1 -proxy1 %s {\n\ttxreq -method %s -url %s -nohost -hdr \"Host: %s\"", c.Name, strconv.Quote(proxied), c.Method, vtcString(c.Path), hostNames[c.Host])
	for _, h := range [][2]string{{"User-Agent", c.Agent}, {"X-Viewer-Country", c.Country}, {"Cookie", c.Cookie}} {
		if h[1] != "" {
			fmt.Fprintf(b, " -hdr %s", strconv.Quote(h[0]+": "+h[1]))
		}
	}
	b.WriteString("\n\trxresp")
	if c.Method == "HEAD" {
		b.WriteString(" -no_obj")
	}
	b.WriteString("\n")
	want := c.Want
	expect := func(field, value string) { fmt.Fprintf(b, "\texpect %s == %s\n", field, value) }
	if want.URI != "" {
		expect("resp.status", "200")
		expect("resp.http.X-Test-URL", strconv.Quote(want.URI))
	} else {
		expect("resp.status", strconv.Itoa(want.Status))
		expect("resp.http.X-Test-URL", "<undef>")
		expect("resp.http.Cache-Control", `"no-store"`)
	}
	for _, h := range [][2]string{{"Allow", want.Allow}, {"Retry-After", want.Retry}, {"Content-Type", want.Type}} {
		if h[1] != "" {
			expect("resp.http."+h[0], strconv.Quote(h[1]))
		}
	}
	if want.Body != "" && c.Method != "HEAD" {
		expect("resp.body", vtcString(want.Body))
	}
	b.WriteString("} -run\n")
}

// vtcString writes a string as varnishtest reads it: with octal beyond ASCII.
func vtcString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// TestVarnishKeepsPagesUp plays the scripts of testdata/varnish; their first lines
// are the claims. What is kept for a second is asked for within it, for which a busy
// machine can be too late: a script may be played three times, and what is wrong with
// the rules fails each time.
func TestVarnishKeepsPagesUp(t *testing.T) {
	findVarnish(t, "varnishtest")
	scripts, err := filepath.Glob("testdata/varnish/*.vtc")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".vtc"), func(t *testing.T) {
			t.Parallel()
			for attempt := 1; ; attempt++ {
				err := varnishtest(t, site(t, readRules(t, "none"), false), readText(t, file))
				if err == nil {
					break
				}
				if attempt == 3 {
					t.Fatal(err)
				}
				t.Log("again: ", err)
			}
		})
	}
}

// TestVarnishTakesTheFilesAsTheyAre compiles what is shipped, with probes and the
// empty rules.
func TestVarnishTakesTheFilesAsTheyAre(t *testing.T) {
	program := findVarnish(t, "varnishd")
	here, err := filepath.Abs("varnish")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "-C", "-n", t.TempDir(), "-p", "vcl_path="+here, "-f", filepath.Join(here, "edge.vcl")).CombinedOutput()
	if err != nil {
		t.Fatalf("varnishd: %v\n%.2000s", err, out)
	}
}

package edge

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write results.js, ingest.js and varnish/rules.vcl anew")

func TestDeployedFilesAreThoseOfTheSources(t *testing.T) {
	files := map[string][]byte{"varnish/rules.vcl": []byte(readRules(t, "none").VCL())}
	for _, host := range []Host{Results, Ingest} {
		code, err := Function(host)
		if err != nil {
			t.Fatal(err)
		}
		files[string(host)+".js"] = code
	}
	for name, want := range files {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what its sources make (%v): go test ./infra/edge -run Deployed -update", name, err)
		}
	}
}

func TestFunctionsFitIntoCloudFront(t *testing.T) {
	for _, host := range []Host{Results, Ingest} {
		code, err := Function(host)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s.js has %d bytes of %d", host, len(code), MaxFunction)
		if len(code) > MaxFunction {
			t.Errorf("%s.js has %d bytes, CloudFront takes %d", host, len(code), MaxFunction)
		}
	}
}

// absent are the parts of JavaScript that the runtime cloudfront-js-2.0 has not,
// or has with a price: closures and arguments must not be asynchronous, and
// promise combinators may exhaust its memory.
// https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-javascript-runtime-20.html
var absent = map[string]*regexp.Regexp{
	"arrow function":           regexp.MustCompile(`=>`),
	"class":                    regexp.MustCompile(`\bclass\b`),
	"generator":                regexp.MustCompile(`function\s*\*|\byield\b`),
	"for of":                   regexp.MustCompile(`\bof\b.*\)\s*\{`),
	"optional chaining":        regexp.MustCompile(`\?\.[a-z(\[]|\?\?`),
	"spread":                   regexp.MustCompile(`\.\.\.`),
	"destructuring":            regexp.MustCompile(`(const|let|var)\s*[\[{]`),
	"eval":                     regexp.MustCompile(`\beval\b|\bnew Function\b`),
	"promise method":           regexp.MustCompile(`\bPromise\b|\.then\(|\.catch\(`),
	"asynchronous closure":     regexp.MustCompile(`[(,=]\s*async\b`),
	"asynchronous argument":    regexp.MustCompile(`\([^)=]*\bawait\b`),
	"timer, network or module": regexp.MustCompile(`\b(setTimeout|setInterval|fetch|XMLHttpRequest|require)\b`),
}

func TestFunctionsUseOnlyWhatTheRuntimeHas(t *testing.T) {
	for _, host := range []Host{Results, Ingest} {
		for what, pattern := range absent {
			for n, line := range strings.Split(withoutComments(t, host), "\n") {
				if pattern.MatchString(line) {
					t.Errorf("%s.js line %d: %s: %s", host, n+1, what, line)
				}
			}
		}
	}
	for what, bad := range map[string]string{
		"arrow function": "x.map(y => y)", "for of": "for (const x of y) {", "optional chaining": "a?.b", "asynchronous argument": "f(await g())",
		"destructuring": "const {a} = b;", "asynchronous closure": "x(async function () {", "spread": "f(...a)", "promise method": "store.get(k).then(f)",
	} {
		if !absent[what].MatchString(bad) {
			t.Errorf("%s is not found in %q", what, bad)
		}
	}
}

var comment = regexp.MustCompile(`(?m)^\s*//.*$`)

func withoutComments(t testing.TB, host Host) string {
	t.Helper()
	code, err := Function(host)
	if err != nil {
		t.Fatal(err)
	}
	return comment.ReplaceAllString(string(code), "")
}

// A pattern cannot blow up if each repetition in it is bounded and holds no other
// that varies: its work is bounded by its own text then. The one without a bound,
// the slashes, stands alone.
var (
	jsPattern = regexp.MustCompile(`/\^?\\/[^\n]*?/[gi]?(,?\n|\.test|, ')`)
	unbounded = regexp.MustCompile(`[^\\][*+]|\{\d+,\}`)
	nested    = regexp.MustCompile(`\([^()]*(\{\d+,\d+\}|\?)[^()]*\)(\{|\*|\+)`)
)

func TestPatternsCannotBlowUp(t *testing.T) {
	blowsUp := func(pattern string) bool {
		return pattern != `/\/+/g` && (unbounded.MatchString(pattern) || nested.MatchString(pattern))
	}
	for _, host := range []Host{Results, Ingest} {
		found := 0
		for _, m := range jsPattern.FindAllString(withoutComments(t, host), -1) {
			pattern := strings.TrimRight(m, ",\n '")
			pattern = strings.TrimSuffix(pattern, ".test")
			found++
			if blowsUp(pattern) {
				t.Errorf("%s.js: %s repeats without a bound", host, pattern)
			}
		}
		if least := map[Host]int{Results: 13, Ingest: 3}[host]; found != least {
			t.Errorf("%s.js: %d patterns looked at, it has %d", host, found, least)
		}
	}
	for _, bad := range []string{`/^(a+)+$/`, `/^\/(a{1,3}){1,9}$/`, `/^\/.*x$/`, `/^\/a{3,}$/`} {
		if !blowsUp(bad) {
			t.Errorf("%s passes", bad)
		}
	}
}

// The same forms, byte for byte, stand before both: what a table of cases cannot
// show is that there is no case beside it.
func TestBothEdgesHaveTheSamePaths(t *testing.T) {
	vcl, err := os.ReadFile("varnish/edge.vcl")
	if err != nil {
		t.Fatal(err)
	}
	inVCL := map[string]bool{}
	for _, m := range regexp.MustCompile(`req\.url !~ "(\^/[^"]*\$)"`).FindAllStringSubmatch(string(vcl), -1) {
		inVCL[m[1]] = true
	}
	count := 0
	for _, host := range []Host{Results, Ingest} {
		_, list, _ := strings.Cut(withoutComments(t, host), "const paths = [\n")
		list, _, ok := strings.Cut(list, "\n];")
		if !ok {
			t.Fatalf("%s.js has no list of paths", host)
		}
		for line := range strings.SplitSeq(list, "\n") {
			pattern := strings.Trim(strings.TrimSuffix(strings.TrimSpace(line), ","), "/")
			pattern = strings.ReplaceAll(pattern, `\/`, "/")
			count++
			if !inVCL[pattern] {
				t.Errorf("%s.js allows %s, edge.vcl does not", host, pattern)
			}
		}
	}
	if count != len(inVCL) {
		t.Errorf("the functions have %d forms of paths, edge.vcl has %d", count, len(inVCL))
	}
}

// TestAFalseReceiptCannotBeMade gives both functions any store at all, rules in
// order or not, and any request. The submission host's answers are refusals. The
// results host's function, put there by mistake, makes nothing up for whatever a
// submission client asks.
func TestAFalseReceiptCannotBeMade(t *testing.T) {
	results, ingest := newSandbox(t, Results), newSandbox(t, Ingest)
	rapid.Check(t, func(r *rapid.T) {
		store := Pairs{}
		for _, key := range []string{"geo", "geo.ingest", "hops", "agents", "decoys", "ban/192.0.2.8", "ban/192.0.2.0/24", "ban/192.0.0.0/16", "decoy", "host", "mode"} {
			if rapid.Bool().Draw(r, key) {
				store[key] = rapid.OneOf(rapid.SampledFrom([]string{"decoy", "refuse", "a|nikto", "US", "! US", "192.0.2.8", "200", "true"}), rapid.String()).Draw(r, key+" says")
			}
		}
		q := request{
			Method: rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PUT", "OPTIONS"}).Draw(r, "method"),
			Path: rapid.OneOf(rapid.SampledFrom([]string{"/v1/submissions", "/v1/submissions/leon-1", "/v1/key", "//v1/key", "/V1/submissions", "/latest", "/wp-login.php"}),
				rapid.StringMatching(`/[ -~]{0,40}`)).Draw(r, "path"),
			IP: "192.0.2.8", Country: rapid.SampledFrom([]string{"", "US", "RU"}).Draw(r, "country"), Agent: rapid.SampledFrom([]string{"", "Nikto", "curl"}).Draw(r, "agent"),
		}
		ingest.store, results.store = store, store
		got, err := ingest.run(q)
		if err != nil {
			r.Fatalf("ingest: %v", err)
		}
		if got.URI == "" && got.Status < 400 {
			r.Fatalf("the submission host makes up %+v", got)
		}
		if got, err = results.run(q); err != nil {
			r.Fatalf("results: %v", err)
		}
		if got.URI == "" && got.Status < 400 {
			if bare := strings.ToLower(strings.TrimLeft(q.Path, "/")); strings.HasPrefix(bare, "v1") || (q.Method != "GET" && q.Method != "HEAD") {
				r.Fatalf("%s %s is given %+v", q.Method, q.Path, got)
			}
		}
	})
	// The claim was tried only if the same store does give decoys elsewhere.
	results.store = Pairs{"ban/192.0.2.8": BanDecoy}
	if got, err := results.run(request{Method: "GET", Path: "/latest", IP: "192.0.2.8"}); err != nil || got.Status != 200 {
		t.Errorf("no decoy is ever given: %+v, %v", got, err)
	}
	if code := withoutComments(t, Ingest); strings.Contains(code, "answer(request, 2") || strings.Contains(code, "Loading") {
		t.Error("ingest.js has a made-up answer")
	}
}

func TestTheDecoyTellsNoResult(t *testing.T) {
	s := newSandbox(t, Results)
	s.store = Pairs{"ban/192.0.2.8": BanDecoy}
	got, err := s.run(request{Method: "GET", Path: "/latest", IP: "192.0.2.8"})
	if err != nil || got.Status != 200 {
		t.Fatalf("%+v, %v", got, err)
	}
	if strings.ContainsAny(got.Body, "0123456789") || regexp.MustCompile(`(?i)vote|win|lead|report|count|yet|none`).MatchString(got.Body) {
		t.Errorf("the decoy says %q", got.Body)
	}
}

func TestAStoreThatFailsBansAndClosesNothing(t *testing.T) {
	s := newSandbox(t, Results)
	s.store, s.fails = readRules(t, "bans"), true
	if got, err := s.run(request{Method: "GET", Path: "/latest", IP: "192.0.2.7"}); err != nil || got.URI != "/latest" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.run(request{Method: "GET", Path: "/.git/config", IP: "192.0.2.7"}); err != nil || got.Status != 404 {
		t.Errorf("what needs no store is no longer refused: %+v, %v", got, err)
	}
}

// maxReads is what a request may cost: each look costs a little time and money.
const maxReads = 7

func TestARequestCostsAFewLooksAtTheStore(t *testing.T) {
	s := newSandbox(t, Results)
	for _, rules := range []string{"none", "closed", "bans", "agents"} {
		s.store = readRules(t, rules)
		for _, ip := range []string{"192.0.2.200", "2001:db8::77", "", "garbage", strings.Repeat("1:", 4000), "::", "1.2.3.4.5", "::ffff:192.0.2.7"} {
			e := event(request{Method: "GET", Path: "/latest"})
			e["viewer"] = map[string]any{"ip": ip}
			got, err := s.run(request{Method: "GET", Path: "/latest", IP: ip, Agent: strings.Repeat("x", 8000)})
			if err != nil || got.URI != "/latest" {
				t.Errorf("%s, %.40q: %+v, %v", rules, ip, got, err)
			}
			if len(s.reads) > maxReads {
				t.Errorf("%s, %.40q: %d looks: %v", rules, ip, len(s.reads), s.reads)
			}
		}
	}
}

func BenchmarkFunction(b *testing.B) {
	s := newSandbox(b, Results)
	s.store = readRules(b, "bans")
	for _, path := range []string{"/latest", "/" + strings.Repeat("a/", 255), "/tile/entries/" + strings.Repeat("x000/", 90)} {
		b.Run(fmt.Sprintf("%.12s", path), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.run(request{Method: "GET", Path: path}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

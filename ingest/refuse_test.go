package ingest_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tallystream/ingest"
	"tallystream/schemas"
)

// refusal is a bad input and its own clear problem.
type refusal struct {
	name   string
	send   func(t testing.TB, b *bench) *httptest.ResponseRecorder
	code   schemas.ProblemCode
	field  string
	detail string // part of it
}

// badBody is a signed submission whose body was changed.
func badBody(name, old, new string, code schemas.ProblemCode, field, detail string) refusal {
	return refusal{name, func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		return b.post(b.seal(t, 1, replace(t, b.body(t, 1), old, new), "official-leon"))
	}, code, field, detail}
}

// badEnvelope is a good submission whose envelope was changed after signing.
func badEnvelope(name, old, new string, code schemas.ProblemCode, field, detail string) refusal {
	return refusal{name, func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		return b.post([]byte(replace(t, string(b.seal(t, 1, b.body(t, 1), "official-leon")), old, new)))
	}, code, field, detail}
}

func signedBy(name string, code schemas.ProblemCode, field, detail string, keys ...string) refusal {
	return refusal{name, func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		return b.post(b.seal(t, 1, b.body(t, 1), keys...))
	}, code, field, detail}
}

const counts = `"counts":[60,30,5]`

var refusals = []refusal{
	// Authority.
	signedBy("no signature", schemas.ProblemMalformed, "/envelope", "signatures"),
	signedBy("wrong key", schemas.ProblemUnknownKey, "/envelope/signatures/0", "not in the roster", "stranger"),
	signedBy("wrong role", schemas.ProblemRole, "/envelope/signatures/0", "may not sign", "supervisor-1"),
	signedBy("wrong county", schemas.ProblemRole, "/envelope/signatures/0", "may not sign", "official-sumter"),
	{"changed signature", changedSignature, schemas.ProblemSignature, "/envelope/signatures/0", "does not verify"},
	{"signature over another revision", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		one := string(b.seal(t, 1, b.body(t, 2), "official-leon"))
		return b.post([]byte(replace(t, one, "leon-1101\n1\n", "leon-1101\n2\n")))
	}, schemas.ProblemSignature, "/envelope/signatures/0", "does not verify"},

	// Of something else.
	{"wrong election in the envelope", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		return b.post(b.sealFor(t, "results.example.org/2024-general", "leon-1101", 1, b.body(t, 1), "official-leon"))
	}, schemas.ProblemElection, "/envelope/origin", "results.example.org/2026-general"},
	badBody("wrong election in the body", "example-2026-general", "example-2024-general", schemas.ProblemElection, "/election", "example-2026-general"),
	badBody("stale ballot definition", `"definition":"`, `"definition":"0`, schemas.ProblemDefinition, "/definition", "in force"),
	{"unknown unit", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		return b.post(b.sealFor(t, b.election.Definition.Origin, "leon-9999", 1, b.body(t, 1), "official-leon"))
	}, schemas.ProblemUnknownUnit, "/envelope/unit", "no unit"},
	badBody("unknown contest", `"amendment-1"`, `"amendment-2"`, schemas.ProblemContest, "/contests/0/contest", "not on the ballot"),
	badBody("unknown selection", `"yes"`, `"maybe"`, schemas.ProblemContest, "/contests/0/votes/0/selection", "yes"),
	{"contest of another ballot", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		body := replace(t, b.body(t, 1), "leon-1101", "leon-1102")
		return b.post(b.sealFor(t, b.election.Definition.Origin, "leon-1102", 1, body, "official-leon"))
	}, schemas.ProblemContest, "/contests/1/contest", "not on the ballot"},
	badBody("other unit in the body", "leon-1101", "leon-1102", schemas.ProblemMalformed, "/unit", "envelope"),
	badBody("other revision in the body", `"revision":1`, `"revision":2`, schemas.ProblemMalformed, "/revision", "envelope"),

	// Numbers.
	badBody("votes exceed ballots", `"counts":[55,20,4]`, `"counts":[155,20,4]`, schemas.ProblemVotesExceed, "/contests/2/votes", "ballots"),
	badBody("negative number", counts, `"counts":[-60,30,5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/0", "0 or more"),
	badBody("huge number", counts, `"counts":[60,30,99999999999999999999999]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/2", "99999999"),
	badBody("number just too large", counts, `"counts":[60,100000000,5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/1", "99999999"),
	badBody("fraction", counts, `"counts":[60.5,30,5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/0", "no fraction"),
	badBody("whole fraction", counts, `"counts":[60.0,30,5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/0", "no fraction"),
	badBody("exponent", counts, `"counts":[6e1,30,5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/0", "exponent"),
	badBody("leading zero", counts, `"counts":[060,30,5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/0", "leading zeros"),
	badBody("number as string", counts, `"counts":["60",30,5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/0", "whole number"),
	badBody("null", counts, `"counts":null`, schemas.ProblemMalformed, "/contests/0/votes/0/counts", "list of counts"),
	badBody("too few counts", counts, `"counts":[60,30]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts", "3 count types"),
	badBody("revision zero", `"revision":1`, `"revision":0`, schemas.ProblemMalformed, "/revision", "1 to"),

	// JSON.
	badBody("duplicate key", `"revision":1`, `"revision":1,"revision":1`, schemas.ProblemMalformed, "/revision", "twice"),
	badBody("duplicate key in a contest", counts, counts+","+counts, schemas.ProblemMalformed, "/contests/0/votes/0", "twice"),
	badBody("duplicate key by escape", `"revision":1`, `"revision":1,"revisi\u006fn":2`, schemas.ProblemMalformed, "", "without escapes"),
	badBody("unknown member", `"revision":1`, `"revision":1,"total":3`, schemas.ProblemMalformed, "", "unknown member"),
	badBody("missing member", `"revision":1,`, ``, schemas.ProblemMalformed, "/revision", "missing"),
	badBody("invalid UTF-8", `"yes"`, "\"y\xffs\"", schemas.ProblemMalformed, "", "UTF-8"),
	badBody("invalid UTF-8 in text", `]}]}`, "]}],\"correction\":{\"reason\":\"recount\",\"text\":\"\xc3\x28\"}}", schemas.ProblemMalformed, "", "UTF-8"),
	badBody("data after the object", `[1,0,0]}]}`, `[1,0,0]}]} {}`, schemas.ProblemMalformed, "", "after the end"),
	badBody("no JSON", `{"schema"`, `"schema"`, schemas.ProblemMalformed, "", "want"),

	// The envelope.
	badEnvelope("body changed after signing", counts, `"counts":[61,30,5]`, schemas.ProblemMalformed, "/envelope/sha256", "SHA-256"),
	badEnvelope("body cut short", `[1,0,0]}]}`, ``, schemas.ProblemMalformed, "/envelope/length", "bytes"),
	badEnvelope("another kind of note", "/submission/v1", "/receipt/v1", schemas.ProblemMalformed, "/envelope/origin", "/submission/v1"),
	badEnvelope("signature without padding", "=\n\n{", "A\n\n{", schemas.ProblemMalformed, "/envelope/signatures", "base64"),
	badEnvelope("revision with sign", "leon-1101\n1\n", "leon-1101\n+1\n", schemas.ProblemMalformed, "/envelope/revision", "whole number"),
	{"note of 3 KiB", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		return b.post(bytes.Replace(b.seal(t, 1, b.body(t, 1), "official-leon"), []byte("— "), []byte("— "+strings.Repeat("x", 3<<10)), 1))
	}, schemas.ProblemMalformed, "/envelope", "2048 bytes before the body"},
	{"empty body", func(_ testing.TB, b *bench) *httptest.ResponseRecorder { return b.post(nil) },
		schemas.ProblemMalformed, "/envelope", "signed note"},
	{"body of 1 MiB", func(_ testing.TB, b *bench) *httptest.ResponseRecorder { return b.post(make([]byte, 1<<20)) },
		schemas.ProblemTooLarge, "/envelope", strconv.Itoa(schemas.MaxEnvelope)},
	{"body of 1 MiB without a length", func(_ testing.TB, b *bench) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, ingest.SubmissionsPath, bytes.NewReader(make([]byte, 1<<20)))
		r.ContentLength = -1
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		return w
	}, schemas.ProblemTooLarge, "/envelope", strconv.Itoa(schemas.MaxEnvelope)},
	{"gzip bomb", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		var bomb bytes.Buffer
		z := gzip.NewWriter(&bomb)
		for range 16 {
			if _, err := z.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.post(bomb.Bytes(), "Content-Encoding", "gzip")
	}, schemas.ProblemMediaType, "/header/Content-Encoding", "without a content encoding"},
	{"form", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
		return b.post(b.seal(t, 1, b.body(t, 1), "official-leon"), "Content-Type", "application/x-www-form-urlencoded")
	}, schemas.ProblemMediaType, "/header/Content-Type", ingest.MediaType},
}

// changedSignature changes the signature where its encoding stays valid.
func changedSignature(t testing.TB, b *bench) *httptest.ResponseRecorder {
	e := b.seal(t, 1, b.body(t, 1), "official-leon")
	at := bytes.Index(e, []byte("official-leon ")) + len("official-leon ") + 20
	if e[at]++; e[at] != 'B' {
		e[at] = 'A'
	}
	return b.post(e)
}

func TestBadInputHasItsOwnProblemAndChangesNothing(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.stream.forbid = true
			w := c.send(t, b)
			p := problem(t, w, c.code)
			if p.Field != c.field || !strings.Contains(p.Detail, c.detail) {
				t.Errorf("field %q detail %q, want field %q and %q", p.Field, p.Detail, c.field, c.detail)
			}
			// The counts of the good body and the changes to them stay out of
			// every problem, and so does every key.
			for _, secret := range []string{"155", "60.5", "-60", "999999999999", string(b.vkey)} {
				if strings.Contains(w.Body.String(), secret) {
					t.Errorf("the problem repeats %q: %s", secret, w.Body)
				}
			}
		})
	}
}

func TestOtherPathsAndMethodsAreProblemsToo(t *testing.T) {
	b := newBench(t, nil)
	for _, c := range []struct {
		method, path string
		code         schemas.ProblemCode
		allow        string
	}{
		{"GET", "/", schemas.ProblemNotFound, ""},
		{"GET", "/v1/submissionsx", schemas.ProblemNotFound, ""},
		{"POST", "/v1/submissions/", schemas.ProblemMethod, "GET, HEAD"},
		{"GET", "/v1/submissions/", schemas.ProblemNotFound, ""},
		{"GET", "/v1/submissions/nowhere", schemas.ProblemNotFound, ""},
		{"GET", "/v1/submissions", schemas.ProblemMethod, "POST"},
		{"PUT", "/v1/submissions", schemas.ProblemMethod, "POST"},
		{"DELETE", "/v1/key", schemas.ProblemMethod, "GET, HEAD"},
	} {
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		problem(t, w, c.code)
		if got := w.Header().Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow is %q, want %q", c.method, c.path, got, c.allow)
		}
	}
}

func TestEveryProblemHasAStatusAndATitle(t *testing.T) {
	for _, code := range []schemas.ProblemCode{
		schemas.ProblemMalformed, schemas.ProblemTooLarge, schemas.ProblemMediaType, schemas.ProblemElection, schemas.ProblemDefinition,
		schemas.ProblemUnknownUnit, schemas.ProblemContest, schemas.ProblemUnknownKey, schemas.ProblemRole, schemas.ProblemSignature,
		schemas.ProblemSignaturesMissing, schemas.ProblemVotesExceed, schemas.ProblemRateLimited, schemas.ProblemBusy,
		schemas.ProblemUnavailable, schemas.ProblemNotFound, schemas.ProblemMethod, schemas.ProblemTimeout,
	} {
		if status := ingest.StatusOf(code); status < 400 || http.StatusText(status) == "" {
			t.Errorf("%s: status %d", code, status)
		}
	}
}

// withoutTime drops the time, which may hold any digits.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func TestWarningsAreRareAndTellNoCountsOrKeys(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1_800_000_000, 0)
	b := newBench(t, func(c *ingest.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime}))
		c.Now = func() time.Time { return now }
	})
	b.stream.err = errors.New("disk full")
	envelope := b.seal(t, 1, replace(t, b.body(t, 1), `"ballots":[100,50,10]`, `"ballots":[98765,50,10]`), "official-leon")
	for range 20 {
		problem(t, b.post(envelope), schemas.ProblemUnavailable)
	}
	if got := strings.Count(log.String(), "disk full"); got != 1 {
		t.Errorf("%d warnings in one second, want 1", got)
	}
	now = now.Add(time.Second)
	b.post(envelope)
	if got := strings.Count(log.String(), "disk full"); got != 2 {
		t.Errorf("%d warnings in two seconds, want 2", got)
	}
	for _, c := range refusals {
		b.stream.err = nil
		c.send(t, b)
	}
	// Whole words, since the ports of addresses hold any digits.
	for _, secret := range []string{`\b98765\b`, `official-leon\+`, `\b155\b`, `\b60\.5\b`} {
		if regexp.MustCompile(secret).MatchString(log.String()) {
			t.Errorf("the log tells %s", secret)
		}
	}
}

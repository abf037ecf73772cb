package ingest_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/ingest"
	"tallystream/schemas"
)

// release signs a release of revision 1 of leon-1101 as the named keys.
func (o *office) release(t testing.TB, names ...string) []byte {
	t.Helper()
	return o.releaseOf(t, "leon-1101", schemas.DigestOf([]byte(o.body(t, 1))), "Held against the poll tapes.", names...)
}

func (o *office) releaseOf(t testing.TB, unit schemas.UnitID, held schemas.Digest, text string, names ...string) []byte {
	t.Helper()
	var signers []note.Signer
	for _, n := range names {
		signers = append(signers, o.keys[n])
	}
	b, err := schemas.AppendRelease(nil, o.election.Definition.Origin, unit, 1, held, schemas.ReleaseChecked, text, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) postRelease(release []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, ingest.ReleasesPath, bytes.NewReader(release))
	r.Header.Set("Content-Type", ingest.ReleaseMediaType)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// releaseReceipt checks that w is a receipt for release.
func (b *bench) releaseReceipt(t testing.TB, w *httptest.ResponseRecorder, release []byte) string {
	t.Helper()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != ingest.ReceiptMediaType {
		t.Fatalf("status %d, %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	r, err := schemas.OpenReleaseReceipt(w.Body.Bytes(), b.receipts)
	if err != nil {
		t.Fatal(err)
	}
	var l schemas.Release
	if err := l.Parse(release); err != nil {
		t.Fatal(err)
	}
	if r.Digest != l.Digest || r.Revision != l.Revision || string(r.Unit) != string(l.Unit) || r.Origin != string(l.Origin) {
		t.Fatalf("receipt %+v is for something else", r)
	}
	if _, err := schemas.OpenReceipt(w.Body.Bytes(), b.receipts); err == nil {
		t.Error("it passes for the receipt of a submission")
	}
	return w.Body.String()
}

func TestAReleaseGetsItsReceiptOnceItIsInItsUnitsPartition(t *testing.T) {
	b := newBench(t, nil)
	held := schemas.DigestOf([]byte("{}"))
	for i, unit := range []schemas.UnitID{"leon-1101", "sumter-1"} {
		release := b.releaseOf(t, unit, held, "Held against the poll tapes.", "supervisor-1", "supervisor-2")
		b.releaseReceipt(t, b.postRelease(release), release)
		if b.stream.count() != i+1 || !bytes.Equal(b.stream.records[i], release) {
			t.Fatalf("%d records, want the release's exact bytes", b.stream.count())
		}
		if want := b.election.PartitionOf(b.unit(t, unit)); b.stream.partitions[i] != want {
			t.Errorf("partition %d, want %d", b.stream.partitions[i], want)
		}
	}
}

// TestARepeatedReleaseIsAppendedAgain: the first may have come before what it
// releases. The receipt is the same, also for another text and other hands.
func TestARepeatedReleaseIsAppendedAgain(t *testing.T) {
	b := newBench(t, nil)
	first := b.release(t, "supervisor-1", "supervisor-2")
	other := b.releaseOf(t, "leon-1101", schemas.DigestOf([]byte(b.body(t, 1))), "Counted again by hand.", "supervisor-2", "supervisor-1")
	receipt := b.releaseReceipt(t, b.postRelease(first), first)
	for _, again := range [][]byte{first, other} {
		if got := b.releaseReceipt(t, b.postRelease(again), again); got != receipt {
			t.Errorf("another receipt:\n%s\n%s", receipt, got)
		}
	}
	if b.stream.count() != 3 {
		t.Errorf("%d records, want 3", b.stream.count())
	}
}

func TestABadReleaseHasItsOwnProblemAndChangesNothing(t *testing.T) {
	change := func(old, new string) func(testing.TB, *bench) *httptest.ResponseRecorder {
		return func(t testing.TB, b *bench) *httptest.ResponseRecorder {
			return b.postRelease([]byte(replace(t, string(b.release(t, "supervisor-1", "supervisor-2")), old, new)))
		}
	}
	signed := func(names ...string) func(testing.TB, *bench) *httptest.ResponseRecorder {
		return func(t testing.TB, b *bench) *httptest.ResponseRecorder { return b.postRelease(b.release(t, names...)) }
	}
	for _, c := range []refusal{
		{"one supervisor", signed("supervisor-1"), schemas.ProblemSignaturesMissing, "/release/signatures", "two supervisors"},
		{"one supervisor twice", signed("supervisor-1", "supervisor-1"), schemas.ProblemSignaturesMissing, "/release/signatures", "two supervisors"},
		{"an official beside", signed("supervisor-1", "official-leon"), schemas.ProblemRole, "/release/signatures/1", "may not sign"},
		{"a stranger beside", signed("supervisor-1", "stranger"), schemas.ProblemUnknownKey, "/release/signatures/1", "not in the roster"},
		{"no signature", signed(), schemas.ProblemMalformed, "/release/signatures", "no signature"},
		{"changed after signing", change("revision 1", "revision 2"), schemas.ProblemSignature, "/release/signatures/0", "does not verify"},
		{"another election", change("2026-general", "2024-general"), schemas.ProblemElection, "/release/origin", "2026-general"},
		{"an unknown unit", change("leon-1101", "leon-9999"), schemas.ProblemUnknownUnit, "/release/unit", "no unit"},
		{"no typed reason", change("reason checked", "reason because"), schemas.ProblemMalformed, "/release/reason", "checked"},
		{"no sentence", change("text Held against the poll tapes.", "text "), schemas.ProblemMalformed, "/release/text", "1 to 500"},
		{"no digest", change("sha256 ", "sha1 "), schemas.ProblemMalformed, "/release/sha256", "line 4"},
		{"a submission", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
			return b.postRelease(b.seal(t, 1, `{}`, "supervisor-1", "supervisor-2"))
		}, schemas.ProblemMalformed, "/release/signatures", "em dash"},
		{"nothing", func(_ testing.TB, b *bench) *httptest.ResponseRecorder { return b.postRelease(nil) }, schemas.ProblemMalformed, "/release", "signed note"},
		{"3 KiB", func(_ testing.TB, b *bench) *httptest.ResponseRecorder { return b.postRelease(make([]byte, 3<<10)) },
			schemas.ProblemTooLarge, "/release", strconv.Itoa(schemas.MaxNote)},
		{"3 KiB without a length", func(_ testing.TB, b *bench) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodPost, ingest.ReleasesPath, bytes.NewReader(make([]byte, 3<<10)))
			r.ContentLength = -1
			w := httptest.NewRecorder()
			b.handler.ServeHTTP(w, r)
			return w
		}, schemas.ProblemTooLarge, "/release", strconv.Itoa(schemas.MaxNote)},
		{"compressed", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
			return b.postRelease(b.release(t, "supervisor-1", "supervisor-2"), "Content-Encoding", "gzip")
		}, schemas.ProblemMediaType, "/header/Content-Encoding", "release's exact bytes"},
		{"a submission's media type", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
			return b.postRelease(b.release(t, "supervisor-1", "supervisor-2"), "Content-Type", ingest.MediaType)
		}, schemas.ProblemMediaType, "/header/Content-Type", ingest.ReleaseMediaType},
		{"fetched", func(_ testing.TB, b *bench) *httptest.ResponseRecorder { return b.get(ingest.ReleasesPath) }, schemas.ProblemMethod, "", "POST"},
		{"sent as a submission", func(t testing.TB, b *bench) *httptest.ResponseRecorder {
			return b.post(b.release(t, "supervisor-1", "supervisor-2"))
		}, schemas.ProblemMalformed, "/envelope", "empty line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.stream.forbid = true
			if p := problem(t, c.send(t, b), c.code); p.Field != c.field || !strings.Contains(p.Detail, c.detail) {
				t.Errorf("field %q detail %q, want field %q and %q", p.Field, p.Detail, c.field, c.detail)
			}
		})
	}
}

func TestReleasesSpendTheBudgetOfTheirFirstKey(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	b := newBench(t, func(c *ingest.Config) {
		c.Limits = ingest.Limits{KeyRate: 0.1, KeyBurst: 2}
		c.Now = func() time.Time { return now }
	})
	release := b.release(t, "supervisor-1", "supervisor-2")
	for range 2 {
		b.releaseReceipt(t, b.postRelease(release), release)
	}
	w := b.postRelease(release)
	if p := problem(t, w, schemas.ProblemRateLimited); p.Field != "/release/signatures/0" || w.Header().Get("Retry-After") != "10" {
		t.Errorf("field %q, Retry-After %q; want the first signature and 10", p.Field, w.Header().Get("Retry-After"))
	}
	now = now.Add(time.Minute)
	b.releaseReceipt(t, b.postRelease(release), release)
}

func TestNoReceiptOfAReleaseWhenTheStreamFailsOrIsBehind(t *testing.T) {
	full := errors.New("full")
	lag := ingest.Lag{}
	b := newBench(t, func(c *ingest.Config) {
		c.Busy = func(err error) bool { return errors.Is(err, full) }
		c.Behind = func() ingest.Lag { return lag }
		c.Limits = ingest.Limits{Wait: time.Millisecond}
	})
	release := b.release(t, "supervisor-1", "supervisor-2")
	b.stream.err = full
	problem(t, b.postRelease(release), schemas.ProblemBusy)
	b.stream.err = errors.New("disk")
	problem(t, b.postRelease(release), schemas.ProblemUnavailable)
	b.stream.err, lag = nil, ingest.Lag{Records: 1 << 30}
	problem(t, b.postRelease(release), schemas.ProblemBusy)
	lag = ingest.Lag{}
	b.releaseReceipt(t, b.postRelease(release), release)
}

func TestAReleaseOfNothingHidesNoSubmission(t *testing.T) {
	ledger := ledgerStates{}
	b := newBench(t, func(c *ingest.Config) { c.States = ledger })
	first := b.seal(t, 1, b.body(t, 1), "official-leon")
	b.receipt(t, b.post(first), first)
	digest := schemas.DigestOf([]byte(b.body(t, 1)))
	ledger["leon-1101"] = []schemas.SubmissionState{{Unit: "leon-1101", Revision: 1, Digest: digest, State: string(schemas.EntryHeld), Hold: schemas.HoldRelease}}
	if got := states(t, b.get(ingest.SubmissionsPath+"/leon-1101")); len(got) != 2 || got[1].State != schemas.StateReceived {
		t.Errorf("states %+v, want the submission among them", got)
	}
}

package ingest_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tallystream/ingest"
	"tallystream/schemas"
)

func TestASubmissionIsAppendedAndGetsItsReceipt(t *testing.T) {
	b := newBench(t, nil)
	envelope := b.seal(t, 1, b.body(t, 1), "official-leon")
	b.receipt(t, b.post(envelope), envelope)
	if b.stream.count() != 1 || !bytes.Equal(b.stream.records[0], envelope) {
		t.Error("the stream does not hold exactly what was sent")
	}
}

func TestOtherMediaTypesAndMissingLengthAreFine(t *testing.T) {
	b := newBench(t, nil)
	for i, media := range []string{"", "text/plain", "text/plain; charset=utf-8", "application/octet-stream", "APPLICATION/vnd.tallystream.submission"} {
		revision := schemas.Revision(i + 1)
		envelope := b.seal(t, revision, b.body(t, revision), "official-leon")
		r := httptest.NewRequest(http.MethodPost, ingest.SubmissionsPath, bytes.NewReader(envelope))
		r.Header.Set("Content-Type", media)
		r.ContentLength = -1
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		b.receipt(t, w, envelope)
	}
	if b.stream.count() != 5 {
		t.Errorf("%d records, want 5", b.stream.count())
	}
}

func TestRepeatedSubmissionReturnsTheSameReceipt(t *testing.T) {
	b := newBench(t, nil)
	first := b.seal(t, 1, b.body(t, 1), "official-leon")
	second := b.seal(t, 2, b.body(t, 2), "official-leon")
	receipt := b.receipt(t, b.post(first), first)
	if again := b.receipt(t, b.post(first), first); again != receipt {
		t.Errorf("another receipt:\n%s\n%s", receipt, again)
	}
	if b.stream.count() != 1 {
		t.Errorf("%d records after a repeat, want 1", b.stream.count())
	}
	b.receipt(t, b.post(second), second)
	if again := b.receipt(t, b.post(first), first); again != receipt {
		t.Errorf("another receipt after another revision:\n%s\n%s", receipt, again)
	}
	// A process that remembers nothing gives it too.
	c := newBench(t, nil)
	if again := c.receipt(t, c.post(first), first); again != receipt {
		t.Errorf("another receipt from another process:\n%s\n%s", receipt, again)
	}
}

func TestOtherContentsUnderTheSameRevisionAreAppended(t *testing.T) {
	b := newBench(t, nil)
	first := b.seal(t, 1, b.body(t, 1), "official-leon")
	other := b.seal(t, 1, replace(t, b.body(t, 1), `"counts":[60,30,5]`, `"counts":[61,30,5]`), "official-leon")
	b.receipt(t, b.post(first), first)
	b.receipt(t, b.post(other), other)
	if b.stream.count() != 2 {
		t.Errorf("%d records, want both: the ledger holds the second", b.stream.count())
	}
}

func TestARepeatIsStillCheckedWhole(t *testing.T) {
	b := newBench(t, nil)
	body := b.body(t, 1)
	envelope := b.seal(t, 1, body, "official-leon")
	b.receipt(t, b.post(envelope), envelope)
	problem(t, b.post(b.seal(t, 1, body, "stranger")), schemas.ProblemUnknownKey)
}

func TestImplausibleSubmissionIsAcceptedToBeHeld(t *testing.T) {
	b := newBench(t, nil)
	for i, change := range [][2]string{
		{`"ballots":[100,50,10]`, `"ballots":[1000,500,100]`}, // over registered, and the identity is broken
		{`"undervotes":[2,1,0]`, `"undervotes":[3,1,0]`},
	} {
		revision := schemas.Revision(i + 1)
		envelope := b.seal(t, revision, replace(t, b.body(t, revision), change[0], change[1]), "official-leon")
		b.receipt(t, b.post(envelope), envelope)
	}
}

func TestCorrectionNeedsTwoSupervisors(t *testing.T) {
	b := newBench(t, nil)
	body := strings.TrimSuffix(b.body(t, 2), "}") + `,"correction":{"reason":"transcription","text":"two digits swapped"}}`
	problem(t, b.post(b.seal(t, 2, body, "official-leon")), schemas.ProblemRole)
	problem(t, b.post(b.seal(t, 2, body, "supervisor-1")), schemas.ProblemSignaturesMissing)
	if b.stream.count() != 0 {
		t.Error("something was appended")
	}
	envelope := b.seal(t, 2, body, "supervisor-1", "supervisor-2")
	b.receipt(t, b.post(envelope), envelope)
}

func TestNoReceiptBeforeTheRecordIsDurable(t *testing.T) {
	b := newBench(t, nil)
	b.stream.hold, b.stream.entered = make(chan struct{}), make(chan struct{}, 1)
	envelope := b.seal(t, 1, b.body(t, 1), "official-leon")
	w := &watchedWriter{ResponseRecorder: httptest.NewRecorder()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, ingest.SubmissionsPath, bytes.NewReader(envelope)))
	}()
	<-b.stream.entered
	w.durable = func() bool { return b.stream.count() == 1 }
	close(b.stream.hold)
	<-done
	if w.early {
		t.Error("the answer began before the append had returned")
	}
	b.receipt(t, w.ResponseRecorder, envelope)
}

// watchedWriter notices an answer that begins too early.
type watchedWriter struct {
	*httptest.ResponseRecorder
	durable func() bool
	early   bool
}

func (w *watchedWriter) note() { w.early = w.early || w.durable == nil || !w.durable() }

func (w *watchedWriter) WriteHeader(code int) {
	w.note()
	w.ResponseRecorder.WriteHeader(code)
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	w.note()
	return w.ResponseRecorder.Write(p)
}

func TestNoReceiptWhenTheStreamFails(t *testing.T) {
	full := errors.New("full")
	b := newBench(t, func(c *ingest.Config) { c.Busy = func(err error) bool { return errors.Is(err, full) } })
	envelope := b.seal(t, 1, b.body(t, 1), "official-leon")
	for _, c := range []struct {
		err  error
		want schemas.ProblemCode
	}{{errors.New("disk"), schemas.ProblemUnavailable}, {fmt.Errorf("appending: %w", full), schemas.ProblemBusy}} {
		b.stream.err = c.err
		w := b.post(envelope)
		problem(t, w, c.want)
		if w.Header().Get("Retry-After") == "" {
			t.Errorf("%s without Retry-After", c.want)
		}
		if strings.Contains(w.Body.String(), "disk") {
			t.Errorf("the problem tells the cause: %s", w.Body)
		}
	}
	// What failed is not remembered as durable.
	b.stream.err = nil
	b.receipt(t, b.post(envelope), envelope)
	if b.stream.count() != 1 {
		t.Errorf("%d records, want 1", b.stream.count())
	}
}

func TestNoReceiptWhenItCannotBeSigned(t *testing.T) {
	o := openOffice(t)
	b := newBench(t, func(c *ingest.Config) { c.Signer = brokenSigner{o} })
	problem(t, b.post(b.seal(t, 1, b.body(t, 1), "official-leon")), schemas.ProblemUnavailable)
}

type brokenSigner struct{ *office }

func (brokenSigner) Name() string                { return "ingest" }
func (brokenSigner) KeyHash() uint32             { return 1 }
func (brokenSigner) Sign([]byte) ([]byte, error) { return nil, errors.New("no key") }

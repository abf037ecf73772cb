package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/ingest/client"
	"tallystream/schemas"
)

func key(t testing.TB, name string) (note.Signer, note.Verifier) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	private, public, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

// service answers with each of its answers in turn, and with the last for ever.
type service struct {
	t       testing.TB
	answers []func(envelope []byte) (*http.Response, error)
	asked   []time.Time
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked = append(s.asked, time.Now())
	if r.Method != http.MethodPost || r.URL.String() != "http://ingest/v1/submissions" {
		s.t.Errorf("asked %s %s", r.Method, r.URL)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	answer := s.answers[min(len(s.asked), len(s.answers))-1]
	return answer(b)
}

func answer(status int, contentType, body string, header ...string) func([]byte) (*http.Response, error) {
	return func([]byte) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func problem(code schemas.ProblemCode, status int, header ...string) func([]byte) (*http.Response, error) {
	return answer(status, schemas.ProblemMediaTypeName, fmt.Sprintf(`{"type":%q,"title":"T","status":%d,"detail":"D","field":"/x"}`, code.URI(), status), header...)
}

func lost([]byte) (*http.Response, error) { return nil, errors.New("connection reset") }

// receiptBy signs the receipt of what came, after change.
func receiptBy(t testing.TB, name string, change func(*schemas.Receipt)) func([]byte) (*http.Response, error) {
	signer, _ := key(t, name)
	return func(envelope []byte) (*http.Response, error) {
		var v schemas.Envelope
		if err := v.Parse(envelope); err != nil {
			t.Error(err)
		}
		r := schemas.Receipt{Origin: string(v.Origin), Unit: schemas.UnitID(v.Unit), Revision: v.Revision, Digest: v.Digest}
		if change != nil {
			change(&r)
		}
		b, err := schemas.AppendNote(nil, r.AppendText(nil), signer)
		if err != nil {
			t.Error(err)
		}
		return answer(http.StatusOK, "text/plain; charset=utf-8", string(b))(nil)
	}
}

func envelope(t testing.TB) []byte {
	t.Helper()
	signer, _ := key(t, "official")
	b, err := schemas.AppendEnvelope(nil, "example.org/e", "u", 3, []byte(`{}`), signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// send sends to a service with the given answers; the jitter is always all of
// its room.
func send(t *testing.T, ctx context.Context, attempts int, answers ...func([]byte) (*http.Response, error)) (*client.Receipt, *service, error) {
	t.Helper()
	s := &service{t: t, answers: answers}
	_, verifier := key(t, "ingest")
	c, err := client.New(client.Config{
		URL: "http://ingest/", Verifier: verifier, HTTP: &http.Client{Transport: s}, Attempts: attempts,
		First: time.Second, Most: 4 * time.Second, Jitter: func(d time.Duration) time.Duration { return d },
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Send(ctx, envelope(t))
	return r, s, err
}

func TestClientRetriesUntilItHasAReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		r, s, err := send(t, t.Context(), 10, lost,
			problem(schemas.ProblemBusy, 503, "Retry-After", "7"),
			problem(schemas.ProblemRateLimited, 429, "Retry-After", "not a number"),
			answer(502, "text/html", "<p>proxy</p>"),
			answer(200, "text/html", "<p>log in to the hotel's network</p>"),
			receiptBy(t, "ingest", nil))
		if err != nil {
			t.Fatal(err)
		}
		if r.Attempts != 6 || r.Unit != "u" || r.Revision != 3 || !bytes.HasPrefix(r.Note, []byte("example.org/e/receipt/v1\n")) {
			t.Errorf("receipt %+v", r)
		}
		var at []time.Duration
		for _, a := range s.asked {
			at = append(at, a.Sub(started))
		}
		// 1 s, 2 s after Retry-After's 7, then 4 s each.
		if got, want := fmt.Sprint(at), "[0s 1s 10s 14s 18s 22s]"; got != want {
			t.Errorf("asked at %s, want %s", got, want)
		}
	})
}

func TestClientTakesARefusalAsFinal(t *testing.T) {
	_, s, err := send(t, t.Context(), 10, problem(schemas.ProblemVotesExceed, 422))
	refused, ok := errors.AsType[*client.RefusedError](err)
	if !ok || refused.Problem.Code() != schemas.ProblemVotesExceed || refused.Problem.Field != "/x" || len(s.asked) != 1 {
		t.Errorf("error %v after %d attempts", err, len(s.asked))
	}
	if want := "refused (422, votes-exceed-ballots): T /x: D"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	_, _, err = send(t, t.Context(), 10, answer(404, "text/html", "<p>no</p>"))
	if refused, ok := errors.AsType[*client.RefusedError](err); !ok || refused.Problem.Status != 404 || refused.Problem.Title != "Not Found" {
		t.Errorf("error %v", err)
	}
}

func TestClientBelievesOnlyAReceiptForWhatItSent(t *testing.T) {
	for name, answer := range map[string]func([]byte) (*http.Response, error){
		"another key":      receiptBy(t, "stranger", nil),
		"another unit":     receiptBy(t, "ingest", func(r *schemas.Receipt) { r.Unit = "v" }),
		"another revision": receiptBy(t, "ingest", func(r *schemas.Receipt) { r.Revision = 4 }),
		"another body":     receiptBy(t, "ingest", func(r *schemas.Receipt) { r.Digest[0] ^= 1 }),
		"another election": receiptBy(t, "ingest", func(r *schemas.Receipt) { r.Origin = "example.org/f" }),
		"an empty answer":  answer(200, "text/plain", ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s, err := send(t, t.Context(), 3, answer)
				gaveUp, ok := errors.AsType[*client.GaveUpError](err)
				if r != nil || !ok || gaveUp.Attempts != 3 || len(s.asked) != 3 || !errors.Is(err, client.ErrReceipt) {
					t.Errorf("receipt %v, error %v after %d attempts", r, err, len(s.asked))
				}
			})
		})
	}
}

func TestClientGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		started := time.Now()
		_, s, err := send(t, ctx, 10, lost)
		if _, ok := errors.AsType[*client.GaveUpError](err); !ok || len(s.asked) != 2 || time.Since(started) != 2500*time.Millisecond {
			t.Errorf("%v after %d attempts and %v", err, len(s.asked), time.Since(started))
		}
	})
}

func TestClientSendsNothingThatIsNoEnvelope(t *testing.T) {
	_, verifier := key(t, "ingest")
	c, err := client.New(client.Config{URL: "http://ingest", Verifier: verifier, HTTP: &http.Client{Transport: &service{t: t}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), []byte("{}")); err == nil {
		t.Error("sent")
	}
	if _, err := client.New(client.Config{}); err == nil {
		t.Error("an empty configuration is accepted")
	}
}

func TestKeyFilesAreForTheirOwnerAndNeverReplaced(t *testing.T) {
	path := t.TempDir() + "/k"
	private, public, err := note.GenerateKey(bytes.NewReader(make([]byte, 32)), "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.WriteKey(path, private); err != nil {
		t.Fatal(err)
	}
	if err := client.WriteKey(path, private); err == nil {
		t.Error("replaced")
	}
	if signer, verifier, err := client.ReadKey(path); err != nil || verifier != public || signer.Name() != "k" {
		t.Errorf("read %v, %v", verifier, err)
	}
}

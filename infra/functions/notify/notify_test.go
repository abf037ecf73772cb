package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"tallystream/infra/functions"
	"tallystream/infra/functions/notify"
)

const site = "https://results.example.org"

// mailbox is who is told, and what.
type mailbox struct {
	targets []notify.Target
	got     map[string][]notify.Message
	down    map[string]bool
}

func (m *mailbox) send(_ context.Context, t *notify.Target, x *notify.Message) error {
	if m.down[t.Name] {
		return errors.New("nobody answers")
	}
	m.got[t.Name] = append(m.got[t.Name], *x)
	return nil
}

func open(log io.Writer) (*notify.Handler, *mailbox) {
	m := &mailbox{got: map[string][]notify.Message{}, down: map[string]bool{}, targets: []notify.Target{
		{Name: "night desk", Kinds: []notify.Kind{notify.Alarm, notify.Failure}}, {Name: "pager", Kinds: []notify.Kind{notify.Alarm}},
		{Name: "editors", Kinds: []notify.Kind{notify.Editors}},
	}}
	return &notify.Handler{
		Election: "franklin-2028", Site: site, Send: m.send, Log: slog.New(slog.NewTextHandler(log, nil)),
		Targets: func(context.Context) ([]notify.Target, error) { return m.targets, nil },
	}, m
}

func recorded(t *testing.T, name string) json.RawMessage {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEachEventGoesToWhoWantsItInWordsThatSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		event string
		who   string
		texts []string
	}{
		{"sns-alarm.json", "pager", []string{"ALARM: tallystream-franklin-2028-verification"}},
		{"sns-alarm.json", "night desk", []string{"https://intranet.example.org/runbooks/verification-failed.md"}},
		{"verify-failed.json", "night desk", []string{"tallystream-franklin-2028-verify failed (RetriesExhausted): what is published does not verify: 1 findings, the first: chain: snapshots/000000013"}},
		{"verify-succeeded.json", "editors", []string{"First results: 3 of 150 units have reported. Snapshot 12, verified. " + site, "Held, and waiting for supervisors: 2 (lowered)."}},
	} {
		h, m := open(io.Discard)
		r, err := h.Handle(t.Context(), recorded(t, c.event))
		if err != nil || r.Messages != len(m.got[c.who]) {
			t.Errorf("%s: %+v, %v", c.event, r, err)
			continue
		}
		for i, want := range c.texts {
			x := m.got[c.who][i]
			if !strings.Contains(x.Text, want) || x.Election != "franklin-2028" || x.ID == "" {
				t.Errorf("%s: %s got %+v, want %q", c.event, c.who, x, want)
			}
		}
	}
}

func TestAnEventThatComesAgainIsTheSameMessageAndGoesToWhoHasNotGotIt(t *testing.T) {
	h, m := open(io.Discard)
	m.down["pager"] = true
	if _, err := h.Handle(t.Context(), recorded(t, "sns-alarm.json")); err == nil || !strings.Contains(err.Error(), "pager") {
		t.Errorf("a target that does not answer: %v", err)
	}
	m.down["pager"] = false
	for range 2 {
		if _, err := h.Handle(t.Context(), recorded(t, "sns-alarm.json")); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.got["night desk"]) != 1 || len(m.got["pager"]) != 1 || m.got["pager"][0].ID != m.got["night desk"][0].ID {
		t.Errorf("sent %v", m.got)
	}
}

func TestWhatIsNotUnderstoodIsPassedOnOrAnError(t *testing.T) {
	h, m := open(io.Discard)
	budget := json.RawMessage(`{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"1","Subject":"AWS Budgets","Message":"` + strings.Repeat("x", 9000) + `"}}]}`)
	if _, err := h.Handle(t.Context(), budget); err != nil || !strings.HasPrefix(m.got["pager"][0].Text, "AWS Budgets") || len(m.got["pager"][0].Text) > 4200 {
		t.Errorf("what is no alarm: %v, %d bytes", err, len(m.got["pager"][0].Text))
	}
	if r, err := h.Handle(t.Context(), json.RawMessage(`{"text":"A rehearsal: who reads this?"}`)); err != nil || r.Sent != 2 {
		t.Errorf("by hand: %+v, %v", r, err)
	}
	nothing := json.RawMessage(`{"requestContext":{"condition":"Success"},"responsePayload":{"snapshot":3}}`)
	if r, err := h.Handle(t.Context(), nothing); err != nil || r.Messages != 0 {
		t.Errorf("no news: %+v, %v", r, err)
	}
	for _, event := range []string{`{}`, `{"Records":[{"EventSource":"aws:s3"}]}`, `[]`, `nonsense`} {
		if _, err := h.Handle(t.Context(), json.RawMessage(event)); err == nil {
			t.Errorf("%s is taken for an event", event)
		}
	}
	m.targets = m.targets[2:]
	if _, err := h.Handle(t.Context(), recorded(t, "verify-failed.json")); err == nil || !strings.Contains(err.Error(), "nobody is told") {
		t.Errorf("a failure that nobody hears of: %v", err)
	}
}

const token = "a-token-nobody-may-see"

func TestNeitherAddressNorTokenIsInAnErrorOrALogLine(t *testing.T) {
	status, where := http.StatusTeapot, ""
	var got *http.Request
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		if where != "" {
			w.Header().Set("Location", where)
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	var log bytes.Buffer
	h, m := open(&log)
	h.Send = notify.Post(server.Client().Transport)
	m.targets = []notify.Target{{Name: "chat", URL: server.URL + "/hook-secret", Token: token, Kinds: []notify.Kind{notify.Alarm}}}
	say := func() error {
		_, err := h.Handle(t.Context(), json.RawMessage(`{"text":"a test"}`))
		return err
	}
	refused := say()
	if refused == nil || got.Header.Get("Authorization") != "Bearer "+token || got.Header.Get("Idempotency-Key") == "" {
		t.Fatalf("%v, headers %v", refused, got)
	}
	status, where = http.StatusFound, server.URL+"/elsewhere"
	if err := say(); err == nil || got.URL.Path != "/hook-secret" {
		t.Errorf("a redirect is followed: %v, to %s", err, got.URL.Path)
	}
	status = http.StatusNoContent
	if err := say(); err != nil {
		t.Error(err)
	}
	server.Close()
	h2, m2 := open(&log)
	h2.Send, m2.targets = h.Send, m.targets
	_, gone := h2.Handle(t.Context(), json.RawMessage(`{"text":"another"}`))
	if gone == nil {
		t.Error("a server that is gone took a message")
	}
	for _, s := range []string{refused.Error(), gone.Error(), log.String()} {
		if strings.Contains(s, token) || strings.Contains(s, "hook-secret") {
			t.Errorf("it is told: %s", s)
		}
	}
}

func TestTheSecretIsAskedForSignedAndReadStrictly(t *testing.T) {
	answer, status, asked := "", http.StatusOK, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || string(body) != `{"SecretId":"tallystream/notify"}` ||
			!strings.Contains(r.Header.Get("Authorization"), "/us-east-1/secretsmanager/aws4_request") {
			t.Errorf("asked %s with %v", body, r.Header)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	now := time.Unix(1_800_000_000, 0)
	s := &notify.Secret{
		Name: "tallystream/notify", Region: "us-east-1", Endpoint: server.URL, HTTP: server.Client(), Now: func() time.Time { return now },
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	}
	value := func(v string) string {
		b, err := json.Marshal(map[string]string{"Name": "tallystream/notify", "SecretString": v})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, bad := range []string{
		``, `{}`, `{"targets":[]}`, `{"targets":[{"name":"a","url":"http://chat.example.org/` + token + `","kinds":["alarm"]}]}`,
		`{"targets":[{"name":"a","url":"https://chat.example.org/` + token + `","kinds":["gossip"]}]}`,
		`{"targets":[{"name":"a","url":"https://chat.example.org/` + token + `","kinds":[]}]}`, `{"targets":[{"adress":"` + token + `"}]}`,
	} {
		answer = value(bad)
		if _, err := s.Targets(t.Context()); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	answer, status = `{"__type":"ResourceNotFoundException"}`, http.StatusBadRequest
	if _, err := s.Targets(t.Context()); err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") {
		t.Errorf("a secret without a value: %v", err)
	}
	answer, status = value(`{"targets":[{"name":"desk","url":"https://chat.example.org/x","token":"t","kinds":["alarm","failure","news"]}]}`), http.StatusOK
	asked = 0
	for range 3 {
		if got, err := s.Targets(t.Context()); err != nil || len(got) != 1 || got[0].Token != "t" {
			t.Errorf("%v, %v", got, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times within a minute", asked)
	}
	if now = now.Add(2 * time.Minute); asked == 1 {
		_, _ = s.Targets(t.Context())
	}
	if asked != 2 {
		t.Errorf("asked %d times after two minutes", asked)
	}
}

func TestAllThatIsMissingIsToldAtOnce(t *testing.T) {
	_, err := notify.New(t.Context(), functions.FromEnvironment(func(string) string { return "" }), slog.Default())
	for _, name := range []string{"TALLYSTREAM_URL", "TALLYSTREAM_NOTIFY_SECRET", "TALLYSTREAM_ELECTION"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("nothing is said of %s: %v", name, err)
		}
	}
}

package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tallystream/service"
	"tallystream/service/cloud"
)

// fakeAWS answers as AWS does when everything is as it should be, unless it is
// told otherwise by call.
type fakeAWS struct {
	t      *testing.T
	refuse map[string]string // "PutItem" or "PutItem TABLE": error code
	date   time.Time
}

var messages = map[string]string{
	"AccessDeniedException": "User: arn:aws:iam::123456789012:user/night is not authorized to perform: ACTION on resource: arn:aws:x",
}

func (f *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", f.date.UTC().Format(http.TimeFormat))
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	target := r.Header.Get("X-Amz-Target")
	api, call, _ := strings.Cut(target, ".")
	if call == "" {
		f.s3(w)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	code := f.refuse[call]
	for key, c := range f.refuse {
		if name, table, ok := strings.Cut(key, " "); ok && name == call && bytes.Contains(body, []byte(table)) {
			code = c
		}
	}
	switch {
	case code != "":
		api, _, _ = strings.Cut(api, "_")
		fail(w, code, strings.ReplaceAll(messages[code], "ACTION", map[string]string{"Kinesis": "kinesis", "DynamoDB": "dynamodb", "TrentService": "kms"}[api]+":"+call))
	case call == "PutItem" && bytes.Contains(body, []byte("attribute_exists")):
		fail(w, "ConditionalCheckFailedException", "The conditional request failed")
	case call == "Sign" && bytes.Contains(body, []byte(`"DryRun":true`)):
		fail(w, "DryRunOperationException", "it would succeed")
	case call == "GetItem", call == "DescribeStreamSummary", call == "GetPublicKey":
		_, _ = io.WriteString(w, "{}")
	default:
		f.t.Errorf("the preflight made the call %s with %s, which may change something", target, body)
		fail(w, "InternalFailure", "")
	}
}

func fail(w http.ResponseWriter, code, message string) {
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"__type":%q,"message":%q}`, code, message)
}

func (f *fakeAWS) s3(w http.ResponseWriter) {
	code, status := "NoSuchKey", http.StatusNotFound
	if c := f.refuse["GetObject"]; c != "" {
		code, status = c, http.StatusForbidden
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `<Error><Code>%s</Code><Message>no</Message></Error>`, code)
}

// flight is a preflight of a service whose configuration is right, to be spoiled.
type flight struct {
	aws     *fakeAWS
	name    string
	options service.Options
	env     map[string]string
	now     time.Duration // by how much the clock is ahead
	keys    bool          // AWS keys are given
	lookup  error         // of each host; nil: it has an address
	log     bytes.Buffer
}

func newFlight(t *testing.T, name, stores string) *flight {
	t.Helper()
	// Nothing of this machine's own AWS configuration.
	for _, v := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ROLE_ARN"} {
		t.Setenv(v, "")
		os.Unsetenv(v)
	}
	nothing := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", nothing)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	f := &flight{aws: &fakeAWS{t: t, refuse: map[string]string{}, date: time.Now()}, name: name, env: map[string]string{}, keys: true, lookup: &net.DNSError{Err: "no such host", IsNotFound: true}}
	server := httptest.NewServer(f.aws)
	t.Cleanup(server.Close)
	f.options = service.Options{
		Data: electionDirectory(t), Bus: "nats://127.0.0.1:4250", Stores: stores,
		Cloud: cloud.Options{Endpoint: server.URL, Region: "us-east-1", Prefix: "tallystream", Bucket: "results"},
	}
	return f
}

func (f *flight) run(t *testing.T) []service.Misconfiguration {
	t.Helper()
	var options []cloud.Option
	if f.keys {
		options = append(options, cloud.WithKeys("test", "test"))
	}
	p := &service.Preflight{
		World: service.World{
			Getenv: func(name string) string { return f.env[name] },
			Now:    func() time.Time { return time.Now().Add(f.now) },
			Lookup: func(_ context.Context, host string) ([]string, error) { return []string{"192.0.2.1"}, f.lookup },
			Cloud:  options,
		},
		Log: slog.New(slog.NewTextHandler(&f.log, nil)),
	}
	err := p.Run(t.Context(), f.name, f.options)
	if err == nil {
		return nil
	}
	var all *service.ConfigurationError
	if !errors.As(err, &all) || all.ExitCode() != 78 {
		t.Fatalf("%T %v", err, err)
	}
	return all.Found
}

// good is one of the schemas' own examples.
func good(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "schemas", "testdata", "good", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// electionDirectory is a data directory with an election and the keys.
func electionDirectory(t *testing.T) string {
	t.Helper()
	d := service.Data{Dir: t.TempDir()}
	definition, roster := good(t, "definition.json"), good(t, "roster.json")
	if err := d.Create(definition, roster); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ingest", "publish"} {
		if err := d.NewKey(name, "results.example/test"); err != nil {
			t.Fatal(err)
		}
	}
	return d.Dir
}

func TestARightConfigurationHasNoFaultAndAsksForNothingThatChanges(t *testing.T) {
	for _, stores := range []string{service.Embedded, service.AWS} {
		for _, name := range []string{"ingest", "aggregate", "publish", "fanout"} {
			f := newFlight(t, name, stores)
			f.options.Status, f.options.Release.ReleasePointer = "127.0.0.1:0", "s3://bucket/release"
			f.options.Bus = "nats://token@127.0.0.1:4250, tls://bus.example.org:4222"
			if name == "publish" && stores == service.AWS { // the key is in KMS then
				if err := os.Remove(filepath.Join(f.options.Data, "keys", "publish.key")); err != nil {
					t.Fatal(err)
				}
			}
			if found := f.run(t); len(found) > 0 {
				t.Errorf("%s on %s: %v", name, stores, found)
			}
			if f.log.Len() > 0 {
				t.Errorf("%s on %s: %s", name, stores, &f.log)
			}
		}
	}
}

func TestEachFaultIsNamedWithWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name, service, stores string
		spoil                 func(*testing.T, *flight)
		setting, problem, do  string
	}{
		{"no definition", "fanout", "embedded", func(t *testing.T, f *flight) { remove(t, f, "definition.json") },
			"definition.json", "does not exist", "put the election's definition there"},
		{"another file as definition", "aggregate", "embedded", func(t *testing.T, f *flight) { write(t, f, "definition.json", "{}", 0o644) },
			"definition.json", "", "as it was signed off"},
		{"no roster", "aggregate", "embedded", func(t *testing.T, f *flight) { remove(t, f, "roster.json") },
			"roster.json", "does not exist", "keys roster"},
		{"another election's roster", "ingest", "embedded", func(t *testing.T, f *flight) { write(t, f, "roster.json", "{}", 0o644) },
			"roster.json", "", "for this election"},
		{"no key", "ingest", "embedded", func(t *testing.T, f *flight) { remove(t, f, "keys/ingest.key") },
			"keys/ingest.key", "does not exist", "TALLYSTREAM_INGEST_KEY"},
		{"a key that is none", "publish", "embedded", func(t *testing.T, f *flight) { write(t, f, "keys/publish.key", "secret", 0o600) },
			"keys/publish.key", "cannot be opened", "keys new"},
		{"a key for all to read", "ingest", "embedded", func(t *testing.T, f *flight) { chmod(t, f, "keys/ingest.key", 0o644) },
			"keys/ingest.key", "others on this machine can read", "chmod 600"},
		{"a variable that is no key", "ingest", "embedded", func(_ *testing.T, f *flight) { f.env["TALLYSTREAM_INGEST_KEY"] = "secret" },
			"TALLYSTREAM_INGEST_KEY", "no private key", "keys new"},
		{"a bus without a scheme", "ingest", "embedded", func(_ *testing.T, f *flight) { f.options.Bus = "127.0.0.1:4250" }, "--bus", "no URL", "nats://HOST:PORT"},
		{"a bus of another kind", "ingest", "embedded", func(_ *testing.T, f *flight) { f.options.Bus = "http://bus:4250" }, "--bus", `"http"`, "nats://HOST:PORT"},
		{"a bus without a host", "ingest", "embedded", func(_ *testing.T, f *flight) { f.options.Bus = "nats://t:secret@:99999" }, "--bus", "names no host", "nats://HOST:PORT"},
		{"a status address without a port", "ingest", "embedded", func(_ *testing.T, f *flight) { f.options.Status = "localhost" }, "--status", "no address", "HOST:PORT"},
		{"a release pointer of a strange kind", "ingest", "embedded", func(_ *testing.T, f *flight) { f.options.Release.ReleasePointer = "ftp://x/y" },
			"--release-pointer", "ftp", "want s3://"},
		{"no region", "ingest", "aws", func(t *testing.T, f *flight) {
			f.options.Cloud.Region, f.options.Cloud.Endpoint = "", ""
		}, "--aws-region", "no region is set", "AWS_REGION"},
		{"no credentials", "ingest", "aws", func(_ *testing.T, f *flight) {
			f.keys, f.options.Cloud.Endpoint = false, ""
		}, "AWS credentials", "no credentials", "aws sso login"},
		{"an unknown region", "ingest", "aws", func(t *testing.T, f *flight) {
			t.Setenv("AWS_ENDPOINT_URL", f.options.Cloud.Endpoint) // so that no call leaves this machine
			f.options.Cloud.Region, f.options.Cloud.Endpoint = "us-esat-1", ""
		}, "--aws-region", `AWS has no region "us-esat-1"`, "did you mean us-east-1?"},
		{"an unknown region without a resolver", "ingest", "aws", func(t *testing.T, f *flight) {
			t.Setenv("AWS_ENDPOINT_URL", f.options.Cloud.Endpoint)
			f.options.Cloud.Region, f.options.Cloud.Endpoint, f.lookup = "eu-centrall-1", "", errors.New("no resolver")
		}, "--aws-region", "cannot be looked up", "did you mean eu-central-1?"},
		{"a zone as region", "ingest", "aws", func(_ *testing.T, f *flight) { f.options.Cloud.Region = "us-east-1a" },
			"--aws-region", "not the name of a region", "did you mean us-east-1?"},
		{"a region in the environment", "ingest", "aws", func(_ *testing.T, f *flight) { f.options.Cloud.Region, f.env["AWS_REGION"] = "", "Frankfurt" },
			"AWS_REGION", "not the name of a region", "such as us-east-1"},
		{"a wrong ARN of a role", "publish", "aws", func(_ *testing.T, f *flight) { f.env["AWS_ROLE_ARN"] = "arn:aws:iam::12345:role/night" },
			"AWS_ROLE_ARN", "not the ARN of a role", "12 digits"},
		{"an ARN for a bucket's name", "fanout", "aws", func(_ *testing.T, f *flight) { f.options.Cloud.Bucket = "arn:aws:s3:::results" },
			"--aws-bucket", "an ARN", "give the bucket's name, results"},
		{"a bucket's name that is none", "fanout", "aws", func(_ *testing.T, f *flight) { f.options.Cloud.Bucket = "Results" }, "--aws-bucket", "want 3 to 63", ""},
		{"a prefix that is none", "fanout", "aws", func(_ *testing.T, f *flight) { f.options.Cloud.Prefix = "-" }, "--aws-prefix", "want 1 to 20", ""},
		{"half a key in the environment", "ingest", "aws", func(_ *testing.T, f *flight) { f.env["AWS_ACCESS_KEY_ID"] = "AKIA" },
			"AWS_ACCESS_KEY_ID", "the other is missing", "set both"},
		{"an endpoint without a scheme", "ingest", "aws", func(_ *testing.T, f *flight) { f.env["AWS_ENDPOINT_URL_S3"] = "localhost:9000" },
			"AWS_ENDPOINT_URL_S3", "no URL", "such as https://"},
		{"a token that is not mounted", "ingest", "aws", func(_ *testing.T, f *flight) { f.env["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/nowhere/token" },
			"AWS_WEB_IDENTITY_TOKEN_FILE", "does not exist", "mount the token"},
		{"no right to look at the stream", "ingest", "aws", func(_ *testing.T, f *flight) { f.aws.refuse["DescribeStreamSummary"] = "AccessDeniedException" },
			"stream tallystream-", "access is denied (kinesis:DescribeStreamSummary", "allow this action"},
		{"no right to write the ledger", "aggregate", "aws", func(_ *testing.T, f *flight) { f.aws.refuse["PutItem -ledger"] = "AccessDeniedException" },
			"writing table tallystream-", "access is denied", "allow this action"},
		{"no right to read the bucket", "fanout", "aws", func(_ *testing.T, f *flight) { f.aws.refuse["GetObject"] = "AccessDenied" },
			"reading bucket results", "access is denied", "allow this action"},
		{"no bucket", "fanout", "aws", func(_ *testing.T, f *flight) { f.aws.refuse["GetObject"] = "NoSuchBucket" }, "reading bucket results", "does not exist", "tallystream setup"},
		{"no table", "ingest", "aws", func(_ *testing.T, f *flight) { f.aws.refuse["GetItem -control"] = "ResourceNotFoundException" },
			"reading table tallystream-", "does not exist", "tallystream setup"},
		{"a key without the right to sign", "publish", "aws", func(t *testing.T, f *flight) {
			remove(t, f, "keys/publish.key")
			f.aws.refuse["Sign"] = "AccessDeniedException"
		}, "signing with alias/tallystream-", "access is denied (kms:Sign", "allow this action"},
		{"a key that was disabled", "publish", "aws", func(t *testing.T, f *flight) {
			remove(t, f, "keys/publish.key")
			f.aws.refuse["Sign"] = "DisabledException"
		}, "signing with alias/tallystream-", "cannot be used", "enable it"},
		{"an access key that AWS does not know", "aggregate", "aws", func(_ *testing.T, f *flight) {
			for _, call := range []string{"GetItem", "PutItem", "DescribeStreamSummary"} {
				f.aws.refuse[call] = "UnrecognizedClientException"
			}
		}, "AWS credentials", "not valid", "check which profile"},
		{"a clock a minute ahead", "ingest", "aws", func(_ *testing.T, f *flight) { f.now = time.Minute }, "the clock of this machine", "ahead of AWS's", "NTP"},
		{"a clock a minute behind", "fanout", "aws", func(_ *testing.T, f *flight) { f.now = -time.Minute }, "the clock of this machine", "behind AWS's", "NTP"},
		{"nobody answers", "fanout", "aws", func(_ *testing.T, f *flight) { f.options.Cloud.Endpoint = "http://127.0.0.1:1" },
			"reading bucket results", "cannot be reached", "--aws-endpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFlight(t, c.service, c.stores)
			c.spoil(t, f)
			found := f.run(t)
			if len(found) != 1 {
				t.Fatalf("found %d faults: %q", len(found), found)
			}
			m := found[0]
			if !strings.Contains(m.Setting, c.setting) || !strings.Contains(m.Problem, c.problem) || !strings.Contains(m.String(), c.do) {
				t.Errorf("%q: want %q, %q, %q", m, c.setting, c.problem, c.do)
			}
			if strings.Contains(m.String(), "secret") {
				t.Errorf("%q tells a secret", m)
			}
		})
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	f := newFlight(t, "publish", service.AWS)
	remove(t, f, "roster.json")
	remove(t, f, "keys/publish.key")
	f.options.Bus, f.options.Status = "bus.example.org", "9081"
	f.env["AWS_ROLE_ARN"] = "night"
	f.aws.refuse["PutItem"], f.aws.refuse["GetPublicKey"], f.aws.refuse["GetObject"] = "AccessDeniedException", "NotFoundException", "AccessDenied"
	f.now = 90 * time.Second
	found := f.run(t)
	err := &service.ConfigurationError{Found: found}
	for i, want := range []string{"roster.json", "--bus", "--status", "AWS_ROLE_ARN", "writing table", "reading bucket", "signing with", "clock"} {
		if i >= len(found) || !strings.Contains(found[i].Setting, want) || !strings.Contains(err.Error(), fmt.Sprintf("\n  %d. ", i+1)) {
			t.Errorf("fault %d is not about %s:\n%v", i+1, want, err)
		}
	}
	if len(found) != 8 {
		t.Errorf("%d faults, want 8: %v", len(found), err)
	}
}

// A process that starts again while AWS is in trouble is not misconfigured.
func TestTroubleThatPassesKeepsNobodyFromStarting(t *testing.T) {
	for _, code := range []string{"ThrottlingException", "InternalServerError", "LimitExceededException"} {
		f := newFlight(t, "ingest", service.AWS)
		f.aws.refuse["DescribeStreamSummary"] = code
		if found := f.run(t); len(found) > 0 {
			t.Errorf("%s: %v", code, found)
		}
		if !strings.Contains(f.log.String(), "configuration not checked") {
			t.Errorf("%s: logged %q", code, &f.log)
		}
	}
}

func TestAClockThatIsRightOrNotMeasuredIsNoFault(t *testing.T) {
	for _, off := range []time.Duration{0, 3 * time.Second, -3 * time.Second} {
		f := newFlight(t, "ingest", service.AWS)
		f.now = off
		if found := f.run(t); len(found) > 0 {
			t.Errorf("%v: %v", off, found)
		}
	}
}

func TestARegionThatIsNewToThisProgramIsNoFault(t *testing.T) {
	f := newFlight(t, "ingest", service.AWS)
	t.Setenv("AWS_ENDPOINT_URL", f.options.Cloud.Endpoint)
	f.options.Cloud.Region, f.options.Cloud.Endpoint, f.lookup = "us-east-7", "", nil
	if found := f.run(t); len(found) > 0 {
		t.Error(found)
	}
}

func path(f *flight, name string) string { return filepath.Join(f.options.Data, name) }

func remove(t *testing.T, f *flight, name string) {
	t.Helper()
	if err := os.Remove(path(f, name)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f *flight, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path(f, name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, f *flight, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path(f, name), mode); err != nil {
		t.Fatal(err)
	}
}

package cloud_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tallystream/service/cloud"
)

// bare makes an environment without any AWS configuration.
func bare(t *testing.T) string {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // so that it comes back
			os.Unsetenv(name)
		}
	}
	dir := t.TempDir()
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return dir
}

func TestWhatIsMissingToBeginWithIsSaidAtOnce(t *testing.T) {
	dir := bare(t)
	_, err := cloud.Open(t.Context(), cloud.Options{})
	if cloud.KindOf(err) != cloud.NoRegion || !strings.Contains(err.Error(), "--aws-region") {
		t.Errorf("no region: %v", err)
	}
	_, err = cloud.Open(t.Context(), cloud.Options{Region: "eu-west-1"})
	if cloud.KindOf(err) != cloud.NoCredentials || !strings.Contains(err.Error(), "AWS_PROFILE") {
		t.Errorf("no credentials: %v", err)
	}
	_, err = cloud.Open(t.Context(), cloud.Options{Region: "eu-west-1", Profile: "nobody"})
	if cloud.KindOf(err) != cloud.NoProfile || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("no such profile: %v", err)
	}
	for _, endpoint := range []string{"localhost:5000", "ftp://x", "http://"} {
		if _, err := cloud.Open(t.Context(), cloud.Options{Endpoint: endpoint}); err == nil || !strings.Contains(err.Error(), "--aws-endpoint") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	config := "[profile night]\nregion = eu-north-1\naws_access_key_id = a\naws_secret_access_key = b\n"
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := cloud.Open(t.Context(), cloud.Options{Profile: "night"})
	if err != nil || c.Region != "eu-north-1" || c.Endpoint != "" {
		t.Errorf("a profile: %+v, %v", c, err)
	}
}

func TestALoopbackEndpointNeedsNoAccount(t *testing.T) {
	bare(t)
	for _, open := range []func() (*cloud.Clients, error){
		func() (*cloud.Clients, error) {
			return cloud.Open(t.Context(), cloud.Options{Endpoint: "http://127.0.0.1:5000"})
		},
		func() (*cloud.Clients, error) {
			t.Setenv("AWS_ENDPOINT_URL", "http://localhost:5000")
			return cloud.Open(t.Context(), cloud.Options{})
		},
	} {
		c, err := open()
		if err != nil || c.Region != cloud.EmulatorRegion || c.Endpoint == "" {
			t.Errorf("%+v, %v", c, err)
			continue
		}
		if !c.S3.Options().UsePathStyle {
			t.Error("buckets are looked for in the host's name")
		}
	}
}

// counting counts requests.
type counting struct {
	next http.RoundTripper
	n    *int
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	*c.n++
	return c.next.RoundTrip(r)
}

func TestTheSDKRepeatsWhatItsBudgetSays(t *testing.T) {
	server := answering(t, 500, nil, jsonError("InternalServerError", "")).Endpoint
	n := 0
	c, err := cloud.Open(t.Context(), cloud.Options{Endpoint: server, Region: "eu-west-1"}, cloud.WithKeys("a", "b"),
		cloud.WithHTTP(func(next http.RoundTripper) http.RoundTripper { return counting{next, &n} }))
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]int{"kinesis": cloud.KinesisBudget.Attempts, "dynamodb": 1, "kms": 1} {
		n = 0
		if err := calls[call](t.Context(), c); err == nil {
			t.Errorf("%s: no error", call)
		}
		if n != want {
			t.Errorf("%s was tried %d times, want %d", call, n, want)
		}
	}
}

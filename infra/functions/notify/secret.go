package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Secret reads who is told from Secrets Manager: one call, signed by the SDK's
// own signer, in place of a module for the whole service.
type Secret struct {
	Name        string
	Region      string
	Endpoint    string // "" means AWS itself
	Credentials aws.CredentialsProvider
	HTTP        *http.Client
	Now         func() time.Time

	mu      sync.Mutex // guards all below
	targets []Target
	until   time.Time
}

// secretAge is how long a secret that was read is used: a target that is added
// hears of the next alarm but for that.
const secretAge = time.Minute

// maxSecret is what Secrets Manager takes.
const maxSecret = 64 << 10

// Targets reads them, at most once a minute.
func (s *Secret) Targets(ctx context.Context) ([]Target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Now().Before(s.until) {
		return s.targets, nil
	}
	text, err := s.value(ctx)
	if err != nil {
		return nil, fmt.Errorf("the secret %s: %w", s.Name, err)
	}
	targets, err := parseTargets(text)
	if err != nil {
		return nil, fmt.Errorf("the secret %s: %w", s.Name, err)
	}
	s.targets, s.until = targets, s.Now().Add(secretAge)
	return targets, nil
}

func (s *Secret) value(ctx context.Context) (_ string, err error) {
	body, err := json.Marshal(map[string]string{"SecretId": s.Name})
	if err != nil {
		return "", err
	}
	endpoint := s.Endpoint
	if endpoint == "" {
		endpoint = "https://secretsmanager." + s.Region + ".amazonaws.com/"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	keys, err := s.Credentials.Retrieve(ctx)
	if err != nil {
		return "", fmt.Errorf("finding credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(sum[:]), "secretsmanager", s.Region, s.Now()); err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	res, err := s.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 2*maxSecret))
	if err != nil {
		return "", err
	}
	var out struct {
		SecretString string
		Type         string `json:"__type"`
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return "", fmt.Errorf("HTTP %d: the answer is no JSON", res.StatusCode)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("HTTP %d %s: put its value in (infra/runbooks/secrets.md), and allow secretsmanager:GetSecretValue to this function's role", res.StatusCode, out.Type)
	}
	return out.SecretString, nil
}

// parseTargets reads the secret's value. Its errors quote nothing of it.
func parseTargets(text string) ([]Target, error) {
	var value struct {
		Targets []Target `json:"targets"`
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&value); err != nil || len(value.Targets) == 0 {
		return nil, errors.New(`want {"targets": [{"name": ..., "url": ..., "token": ..., "kinds": ["alarm", "failure", "news"]}]}`)
	}
	names := map[string]bool{}
	for i, t := range value.Targets {
		u, err := url.Parse(t.URL)
		switch {
		case t.Name == "" || names[t.Name]:
			return nil, fmt.Errorf("target %d: want a name of its own", i+1)
		case err != nil || u.Scheme != "https" || u.Host == "":
			return nil, fmt.Errorf("target %s: url: want one of https", t.Name)
		case len(t.Kinds) == 0:
			return nil, fmt.Errorf("target %s: kinds: want some of %s, %s, %s", t.Name, Alarm, Failure, Editors)
		}
		for _, k := range t.Kinds {
			if !slices.Contains([]Kind{Alarm, Failure, Editors}, k) {
				return nil, fmt.Errorf("target %s: kinds: want some of %s, %s, %s", t.Name, Alarm, Failure, Editors)
			}
		}
		names[t.Name] = true
	}
	return value.Targets, nil
}

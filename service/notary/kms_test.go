package notary_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
	"tallystream/service/cloud"
	"tallystream/service/cloud/faults"
	"tallystream/service/cloud/mototest"
	"tallystream/service/notary"
)

const (
	alias = "alias/tallystream-test-publish"
	arn   = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	name  = "results.example.org/publish"
)

// fake is KMS, as strict as it is known to be, for the two calls of a signer
// and one key. It answers the real SDK below its HTTP client.
type fake struct {
	t       *testing.T
	private ed25519.PrivateKey
	key     map[string]any // what GetPublicKey says, to be spoilt
	fail    map[string]any // what Sign says instead, with its code in "__type"
	spoil   bool           // the signature
	signed  int
}

func newFake(t *testing.T) *fake {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &fake{t: t, private: private, key: map[string]any{
		"KeyId": arn, "KeySpec": "ECC_NIST_EDWARDS25519", "CustomerMasterKeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY",
		"PublicKey": spki(t, public), "SigningAlgorithms": []string{"ED25519_SHA_512", "ED25519_PH_SHA_512"},
	}}
}

func spki(t *testing.T, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// RoundTrip answers one request.
func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	var in struct {
		KeyId, MessageType, SigningAlgorithm string
		Message                              []byte
		DryRun                               bool
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		f.t.Errorf("request: %v", err)
	}
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.GetPublicKey":
		if in.KeyId != alias {
			return f.answer(r, 400, map[string]any{"__type": "NotFoundException", "message": "Key '" + arn + "' does not exist"})
		}
		return f.answer(r, 200, f.key)
	case "TrentService.Sign":
		if f.fail != nil {
			return f.answer(r, 400, f.fail)
		}
		if in.KeyId != arn || in.MessageType != "RAW" || in.SigningAlgorithm != "ED25519_SHA_512" || len(in.Message) == 0 || len(in.Message) > 4096 {
			f.t.Errorf("a request that KMS refuses: key %q, type %q, algorithm %q, %d bytes", in.KeyId, in.MessageType, in.SigningAlgorithm, len(in.Message))
			return f.answer(r, 400, map[string]any{"__type": "ValidationException", "message": "bad request"})
		}
		if in.DryRun {
			return f.answer(r, 412, map[string]any{"__type": "DryRunOperationException", "message": "The request would have succeeded, but the DryRun option is set."})
		}
		f.signed++
		signature := ed25519.Sign(f.private, in.Message)
		if f.spoil {
			signature[7] ^= 1
		}
		return f.answer(r, 200, map[string]any{"KeyId": arn, "Signature": signature, "SigningAlgorithm": in.SigningAlgorithm})
	}
	f.t.Errorf("a call that a signer must not make: %s", r.Header.Get("X-Amz-Target"))
	return f.answer(r, 400, map[string]any{"__type": "UnknownOperationException"})
}

func (f *fake) answer(r *http.Request, status int, body map[string]any) (*http.Response, error) {
	b, err := json.Marshal(body)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(bytes.NewReader(b)), ContentLength: int64(len(b)),
	}, err
}

// client is the SDK's, with the fake below it.
func (f *fake) client() *kms.Client {
	c, err := cloud.Open(f.t.Context(), cloud.Options{Endpoint: "http://127.0.0.1:1", Region: "us-east-1"}, cloud.WithKeys("test", "test"),
		cloud.WithHTTP(func(http.RoundTripper) http.RoundTripper { return f }))
	if err != nil {
		f.t.Fatal(err)
	}
	return c.KMS
}

func TestANoteSignedByKMSVerifies(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s, err := notary.Open(t.Context(), f.client(), alias, name)
	if err != nil {
		t.Fatal(err)
	}
	if f.signed != 0 {
		t.Error("opening signed something")
	}
	wantVerifies(t, s)
	if f.signed != 2 {
		t.Errorf("%d signatures were made, want 2", f.signed)
	}
}

// wantVerifies signs in both ways and opens the notes with the public half.
func wantVerifies(t *testing.T, s *notary.KMS) {
	t.Helper()
	key, err := schemas.ParseVerifierKey(s.VerifierKey())
	if err != nil || key.Name != name || key.Hash != s.KeyHash() || s.Name() != name {
		t.Fatalf("verifier key %q: %v", s.VerifierKey(), err)
	}
	verifier, err := note.NewVerifier(s.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	text := "results.example.org\n12\nnLDBP4BdUDgBd8VO+xmT+FyNWBhPnF0sPzkd7Mbnr6M=\n"
	one, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		t.Fatal(err)
	}
	two, err := schemas.AppendNote(nil, []byte(text), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{one, two} {
		if n, err := note.Open(b, note.VerifierList(verifier)); err != nil || n.Text != text {
			t.Errorf("opening the note: %v", err)
		}
	}
}

func TestTheLongestTextIsSignedAndALongerOneRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s, err := notary.Open(t.Context(), f.client(), alias, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(bytes.Repeat([]byte("x"), notary.MaxMessage)); err != nil {
		t.Errorf("%d bytes: %v", notary.MaxMessage, err)
	}
	if _, err := s.Sign(bytes.Repeat([]byte("x"), notary.MaxMessage+1)); !errors.Is(err, notary.ErrTooLong) {
		t.Errorf("%d bytes: %v, want ErrTooLong", notary.MaxMessage+1, err)
	}
}

func TestAKeyOfAnotherKindIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		field string
		value any
		want  string
	}{
		{"KeySpec", "ECC_NIST_P256", `key spec is "ECC_NIST_P256", want "ECC_NIST_EDWARDS25519"`},
		{"KeyUsage", "KEY_AGREEMENT", `key usage is "KEY_AGREEMENT", want "SIGN_VERIFY"`},
		{"SigningAlgorithms", []string{"ECDSA_SHA_256"}, `want "ED25519_SHA_512"`},
		{"PublicKey", spki(t, &p256.PublicKey), "want one of Ed25519"},
		{"PublicKey", []byte("no key"), "reading its public key"},
		{"KeyId", "", "without the key's ARN"},
	} {
		f := newFake(t)
		f.key[test.field] = test.value
		if _, err := notary.Open(t.Context(), f.client(), alias, name); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), alias) {
			t.Errorf("%s %v: %v, want %q", test.field, test.value, err, test.want)
		}
	}
	if _, err := notary.Open(t.Context(), newFake(t).client(), "alias/other", name); cloud.KindOf(err) != cloud.Missing {
		t.Errorf("a key that is missing: %v", err)
	}
	if _, err := notary.Open(t.Context(), newFake(t).client(), alias, "two words"); err == nil {
		t.Error("a name that notes cannot have was taken")
	}
}

func TestAKeyThatMayNotSignIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]cloud.Kind{"AccessDeniedException": cloud.Denied, "DisabledException": cloud.KeyUnusable, "KMSInvalidStateException": cloud.KeyUnusable} {
		f := newFake(t)
		f.fail = map[string]any{"__type": code, "message": arn + " cannot be used"}
		if _, err := notary.Open(t.Context(), f.client(), alias, name); cloud.KindOf(err) != want {
			t.Errorf("%s: %v, want kind %q", code, err, want)
		}
	}
}

func TestASignatureThatDoesNotVerifyIsNotReturned(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s, err := notary.Open(t.Context(), f.client(), alias, name)
	if err != nil {
		t.Fatal(err)
	}
	f.spoil = true
	if got, err := s.Sign([]byte("text\n")); err == nil || got != nil {
		t.Errorf("Sign: %x, %v", got, err)
	}
}

func TestSigningEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := notary.Open(ctx, newFake(t).client(), alias, name)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Sign([]byte("text\n")); !errors.Is(err, context.Canceled) {
		t.Errorf("Sign: %v, want that it was cancelled", err)
	}
}

// newKey makes a key of the kind on moto.
func newKey(t *testing.T, c *cloud.Clients, spec types.KeySpec) string {
	t.Helper()
	out, err := c.KMS.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeSignVerify})
	if err != nil {
		t.Fatal(err)
	}
	id := mototest.Names(t, "test").Key
	if _, err := c.KMS.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &id, TargetKeyId: out.KeyMetadata.KeyId}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestMotoSignsAndFaultsDoNotShow(t *testing.T) {
	t.Parallel()
	plan, err := faults.Parse(5, "KMS.*:throttle=0.1,before=0.05,after=0.1,cut=0.05,duplicate=0.05,internal=0.05")
	if err != nil {
		t.Fatal(err)
	}
	network, err := faults.New(plan)
	if err != nil {
		t.Fatal(err)
	}
	id := newKey(t, mototest.Start(t), types.KeySpecEccNistEdwards25519)
	s, err := notary.Open(t.Context(), mototest.Start(t, cloud.WithHTTP(network.Over)).KMS, id, name)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		wantVerifies(t, s)
	}
	t.Logf("seed 5\n%s", network.Counts())
}

func TestMotosOtherKeysAreRefused(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	_, err := notary.Open(t.Context(), c.KMS, newKey(t, c, types.KeySpecEccNistP256), name)
	if err == nil || !strings.Contains(err.Error(), `want "ED25519_SHA_512"`) {
		t.Errorf("Open: %v", err)
	}
	_, err = notary.Open(t.Context(), c.KMS, "alias/none", name)
	if cloud.KindOf(err) != cloud.Missing {
		t.Errorf("Open: %v", err)
	}
}

func TestThePublicHalfIsReadWithoutTheRightToSign(t *testing.T) {
	f := newFake(t)
	s, err := notary.Open(t.Context(), f.client(), alias, name)
	if err != nil {
		t.Fatal(err)
	}
	f.fail, f.signed = map[string]any{"__type": "AccessDeniedException"}, 0
	if _, err := notary.Open(t.Context(), f.client(), alias, name); err == nil {
		t.Error("a signer without the right to sign was opened")
	}
	tried := f.signed
	verifier, err := notary.VerifierKey(t.Context(), f.client(), alias, name)
	if err != nil || verifier != s.VerifierKey() || f.signed != tried {
		t.Errorf("%q, %v, want %q and no signature asked for", verifier, err, s.VerifierKey())
	}
	f.key["KeyUsage"] = "ENCRYPT_DECRYPT"
	if _, err := notary.VerifierKey(t.Context(), f.client(), alias, name); err == nil {
		t.Error("a key of another kind is taken")
	}
}

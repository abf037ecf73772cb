// Package notary signs notes with a key that nobody can take away: it never
// leaves AWS KMS.
//
// Invariant: what Sign returns is a signature that the verifier key, which was
// fetched once at the start, verifies. The key is the one that the name meant
// then, wherever an alias points later.
package notary

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"golang.org/x/mod/sumdb/note"

	"tallystream/service/cloud"
)

const (
	// MaxMessage is the longest text that KMS signs as it is (MessageType RAW,
	// the only one for Ed25519), in bytes. A note's text fits, a document does
	// not: notes hold digests.
	MaxMessage = 4096
	// signTimeout bounds one signature with all its repetitions.
	signTimeout = 15 * time.Second
)

// ErrTooLong says that a text is longer than MaxMessage.
var ErrTooLong = errors.New("text is too long to be signed by KMS")

// PublicCalls are the calls of KMS for the public half of a key.
type PublicCalls interface {
	GetPublicKey(context.Context, *kms.GetPublicKeyInput, ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error)
}

// Calls are the calls of KMS that a signer makes. *kms.Client has them.
type Calls interface {
	PublicCalls
	Sign(context.Context, *kms.SignInput, ...func(*kms.Options)) (*kms.SignOutput, error)
}

var _ Calls = (*kms.Client)(nil)

// KMS is a note.Signer whose key is in KMS. It is safe for concurrent use.
type KMS struct {
	life     context.Context // of the process: note.Signer has no context of its own
	calls    Calls
	key      string // the key's ARN
	verifier string
	note.Verifier
}

var _ note.Signer = (*KMS)(nil)

// Open returns a signer under the name of a note key, such as
// "results.example.org/publish", with the key of KMS that id (an alias, key
// identifier or ARN) means now. It fails if that key is of another kind, or may
// not be used by this process. Signing ends when ctx does.
func Open(ctx context.Context, calls Calls, id, name string) (*KMS, error) {
	s, err := open(ctx, calls, id, name)
	if err != nil {
		return nil, fmt.Errorf("opening KMS key %s: %w", id, cloud.Explain(err))
	}
	return s, nil
}

// VerifierKey is the public half of a key, as Open's signer has it. It needs the
// right to read it and no other: an auditor has no business with the private one.
func VerifierKey(ctx context.Context, calls PublicCalls, id, name string) (string, error) {
	_, verifier, err := public(ctx, calls, id, name)
	if err != nil {
		return "", fmt.Errorf("reading the public half of KMS key %s: %w", id, cloud.Explain(err))
	}
	return verifier, nil
}

// public asks for the public half, and checks that the key is one that we sign with.
func public(ctx context.Context, calls PublicCalls, id, name string) (*kms.GetPublicKeyOutput, string, error) {
	out, err := calls.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &id})
	if err != nil {
		return nil, "", err
	}
	key, err := publicKey(out)
	if err != nil {
		return nil, "", err
	}
	verifier, err := note.NewEd25519VerifierKey(name, key)
	if err != nil {
		return nil, "", fmt.Errorf("naming it %q: %w", name, err)
	}
	return out, verifier, nil
}

func open(ctx context.Context, calls Calls, id, name string) (*KMS, error) {
	out, verifier, err := public(ctx, calls, id, name)
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(verifier)
	if err != nil {
		return nil, fmt.Errorf("naming it %q: %w", name, err)
	}
	s := &KMS{life: ctx, calls: calls, key: aws.ToString(out.KeyId), verifier: verifier, Verifier: v}
	return s, s.rehearse(ctx)
}

// publicKey checks that the key is for such signatures, and returns its raw 32
// bytes. KMS gives it as SubjectPublicKeyInfo in DER (RFC 8410 for Ed25519).
func publicKey(out *kms.GetPublicKeyOutput) (ed25519.PublicKey, error) {
	switch {
	// moto leaves the spec out; the algorithms and the key itself say the same.
	case out.KeySpec != types.KeySpecEccNistEdwards25519 && out.KeySpec != "":
		return nil, fmt.Errorf("key spec is %q, want %q (\"tallystream setup\" makes such a key)", out.KeySpec, types.KeySpecEccNistEdwards25519)
	case out.KeyUsage != types.KeyUsageTypeSignVerify:
		return nil, fmt.Errorf("key usage is %q, want %q", out.KeyUsage, types.KeyUsageTypeSignVerify)
	case !slices.Contains(out.SigningAlgorithms, types.SigningAlgorithmSpecEd25519Sha512):
		return nil, fmt.Errorf("key signs with %v, want %q", out.SigningAlgorithms, types.SigningAlgorithmSpecEd25519Sha512)
	case aws.ToString(out.KeyId) == "":
		return nil, errors.New("public key came without the key's ARN")
	}
	parsed, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("reading its public key: %w", err)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("its public key is a %T, want one of Ed25519", parsed)
	}
	return public, nil
}

// rehearse asks KMS whether it would sign, without a signature: a missing
// right or a disabled key shows at the start and not with the first snapshot.
func (s *KMS) rehearse(ctx context.Context) error {
	in := s.input([]byte("rehearsal\n"))
	in.DryRun = aws.Bool(true)
	_, err := s.calls.Sign(ctx, in)
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == (&types.DryRunOperationException{}).ErrorCode() {
		return nil // "the request would have succeeded"
	}
	if err != nil {
		return fmt.Errorf("asking whether it signs: %w", err)
	}
	return nil // an emulator that knows no dry run has signed
}

func (s *KMS) input(text []byte) *kms.SignInput {
	return &kms.SignInput{
		KeyId: &s.key, Message: text, MessageType: types.MessageTypeRaw, SigningAlgorithm: types.SigningAlgorithmSpecEd25519Sha512,
	}
}

// VerifierKey is the public half, as golang.org/x/mod/sumdb/note spells it.
func (s *KMS) VerifierKey() string { return s.verifier }

// Sign implements note.Signer: one request to KMS. ErrTooLong if the text is
// longer than MaxMessage.
func (s *KMS) Sign(text []byte) ([]byte, error) {
	if len(text) > MaxMessage {
		return nil, fmt.Errorf("signing %d bytes (most are %d): %w", len(text), MaxMessage, ErrTooLong)
	}
	ctx, cancel := context.WithTimeout(s.life, signTimeout)
	defer cancel()
	out, err := s.calls.Sign(ctx, s.input(text))
	if err != nil {
		return nil, fmt.Errorf("signing with KMS key %s: %w", s.key, cloud.Explain(err))
	}
	// What cannot be verified must not be published, whoever made it.
	if !s.Verify(text, out.Signature) {
		return nil, fmt.Errorf("signing with KMS key %s: the signature does not verify", s.key)
	}
	return out.Signature, nil
}

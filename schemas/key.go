package schemas

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// OpenPrivateKey reads a private key in the encoding of
// golang.org/x/mod/sumdb/note, "PRIVATE+KEY+name+hash+key", and returns its
// signer and its verifier key. White space around it is ignored. Errors never
// repeat what was read.
func OpenPrivateKey(s string) (signer note.Signer, verifier string, err error) {
	s = strings.TrimSpace(s)
	if signer, err = note.NewSigner(s); err != nil {
		return nil, "", fmt.Errorf("private key: want PRIVATE+KEY+name+hash+key of Ed25519")
	}
	// NewSigner checked the form: the fifth part, which may hold '+' itself, is
	// the algorithm byte and the seed.
	raw, err := base64.StdEncoding.DecodeString(strings.SplitN(s, "+", 5)[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, "", fmt.Errorf("private key: want Ed25519")
	}
	public := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	verifier, err = note.NewEd25519VerifierKey(signer.Name(), public)
	if err != nil {
		return nil, "", fmt.Errorf("private key: %w", err)
	}
	return signer, verifier, nil
}

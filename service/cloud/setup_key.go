package cloud

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func (s *Setup) key() resource {
	want := s.Plan.Key
	return resource{"key", want.Alias,
		func(ctx context.Context) (sight, error) { return s.lookAtKey(ctx, want) },
		func(ctx context.Context) (string, error) { return s.createKey(ctx, want) },
	}
}

// deleteAfter is the shortest time after which KMS deletes a key, in days.
const deleteAfter = 7

// createKey makes a key, and then the alias, which only one can get. A key
// that did not get it has signed nothing and goes again.
func (s *Setup) createKey(ctx context.Context, want KeySpec) (note string, err error) {
	client := s.Clients.KMS
	out, err := client.CreateKey(ctx, &kms.CreateKeyInput{
		KeySpec: types.KeySpec(want.Spec), KeyUsage: types.KeyUsageType(want.Usage),
		Description: aws.String("Signs snapshots of " + strings.TrimPrefix(want.Alias, "alias/")),
	})
	if err != nil {
		return "", err
	}
	id := aws.ToString(out.KeyMetadata.KeyId)
	_, err = client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &want.Alias, TargetKeyId: &id})
	if exists := (*types.AlreadyExistsException)(nil); errors.As(err, &exists) {
		return s.yieldKey(ctx, want, id)
	}
	if err != nil { // it may have come through
		return "", fmt.Errorf("giving key %s its alias: %w", id, err)
	}
	return "the key's ID is " + id, nil
}

// yieldKey deletes a key whose alias exists already, unless the alias is its
// own: the answer to the first try of making it may have been lost.
func (s *Setup) yieldKey(ctx context.Context, want KeySpec, id string) (note string, err error) {
	out, err := s.Clients.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &want.Alias})
	if err != nil {
		return "", fmt.Errorf("asking whose alias it is, for key %s: %w", id, err)
	}
	if aws.ToString(out.KeyMetadata.KeyId) == id {
		return "the key's ID is " + id, nil
	}
	_, err = s.Clients.KMS.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(deleteAfter)})
	if state := (*types.KMSInvalidStateException)(nil); err != nil && !errors.As(err, &state) { // it is on its way already
		return "", fmt.Errorf("deleting key %s, which nobody uses: %w", id, err)
	}
	return "another setup has just made the key", nil
}

func (s *Setup) lookAtKey(ctx context.Context, want KeySpec) (seen sight, err error) {
	out, err := s.Clients.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &want.Alias})
	if absent := (*types.NotFoundException)(nil); errors.As(err, &absent) {
		return seen, nil
	}
	if err != nil {
		return seen, err
	}
	have := out.KeyMetadata
	seen.found = true
	if have.KeyState == types.KeyStateCreating {
		seen.status = string(have.KeyState)
	}
	// None of these is changed: a key that signed before must stay as it is.
	seen.differ("spec", want.Spec, have.KeySpec, nil)
	seen.differ("usage", want.Usage, have.KeyUsage, nil)
	seen.differ("state", types.KeyStateEnabled, have.KeyState, nil)
	return seen, nil
}

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
	if err == nil {
		return "the key's ID is " + id, nil
	}
	_, gone := client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(deleteAfter)})
	if gone != nil {
		err = errors.Join(err, fmt.Errorf("deleting key %s, which nobody uses: %w", id, Explain(gone)))
	}
	if exists := (*types.AlreadyExistsException)(nil); gone == nil && errors.As(err, &exists) {
		return "another setup has just made the key", nil
	}
	return "", err
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

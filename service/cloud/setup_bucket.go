package cloud

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

func (s *Setup) bucket() resource {
	want := s.Plan.Bucket
	return resource{"bucket", want.Name,
		func(ctx context.Context) (sight, error) { return s.lookAtBucket(ctx, want) },
		func(ctx context.Context) (string, error) { return "", s.createBucket(ctx, want) },
	}
}

func (s *Setup) createBucket(ctx context.Context, want BucketSpec) error {
	in := &s3.CreateBucketInput{Bucket: &want.Name, ObjectOwnership: types.ObjectOwnership(want.Ownership)}
	if want.Region != "us-east-1" { // which is the one that may not be named here
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(want.Region)}
	}
	_, err := s.Clients.S3.CreateBucket(ctx, in)
	if owned := (*types.BucketAlreadyOwnedByYou)(nil); errors.As(err, &owned) {
		return nil // somebody else has just created it
	}
	return err
}

func (s *Setup) lookAtBucket(ctx context.Context, want BucketSpec) (seen sight, err error) {
	head, err := s.Clients.S3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &want.Name})
	if absent := (*types.NotFound)(nil); errors.As(err, &absent) {
		return seen, nil
	}
	if err != nil {
		return seen, err
	}
	seen.found = true
	if region := aws.ToString(head.BucketRegion); region != "" {
		seen.differ("region", want.Region, region, nil)
	}
	for _, look := range []func(context.Context, BucketSpec, *sight) error{
		s.lookAtPublicAccess, s.lookAtVersioning, s.lookAtBucketEncryption, s.lookAtOwnership,
	} {
		if err := look(ctx, want, &seen); err != nil && !seen.unknown(err) {
			return seen, err
		}
	}
	return seen, nil
}

func (s *Setup) lookAtPublicAccess(ctx context.Context, want BucketSpec, seen *sight) error {
	out, err := s.Clients.S3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &want.Name})
	if err != nil && codeOf(err) != "NoSuchPublicAccessBlockConfiguration" {
		return err
	}
	blocked := false
	if out != nil && out.PublicAccessBlockConfiguration != nil {
		c := out.PublicAccessBlockConfiguration
		blocked = aws.ToBool(c.BlockPublicAcls) && aws.ToBool(c.BlockPublicPolicy) && aws.ToBool(c.IgnorePublicAcls) && aws.ToBool(c.RestrictPublicBuckets)
	}
	seen.differ("public access blocked", want.BlockPublicAccess, blocked, func(ctx context.Context) error {
		yes := aws.Bool(true)
		_, err := s.Clients.S3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
			Bucket: &want.Name,
			PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
				BlockPublicAcls: yes, BlockPublicPolicy: yes, IgnorePublicAcls: yes, RestrictPublicBuckets: yes,
			},
		})
		return err
	})
	return nil
}

func (s *Setup) lookAtVersioning(ctx context.Context, want BucketSpec, seen *sight) error {
	out, err := s.Clients.S3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &want.Name})
	if err != nil {
		return err
	}
	seen.differ("versioning", want.Versioning, out.Status == types.BucketVersioningStatusEnabled, func(ctx context.Context) error {
		_, err := s.Clients.S3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
			Bucket: &want.Name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		})
		return err
	})
	return nil
}

func (s *Setup) lookAtBucketEncryption(ctx context.Context, want BucketSpec, seen *sight) error {
	out, err := s.Clients.S3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &want.Name})
	if err != nil && codeOf(err) != "ServerSideEncryptionConfigurationNotFoundError" {
		return err
	}
	have := "none"
	if out != nil && out.ServerSideEncryptionConfiguration != nil {
		for _, rule := range out.ServerSideEncryptionConfiguration.Rules {
			if d := rule.ApplyServerSideEncryptionByDefault; d != nil {
				have = string(d.SSEAlgorithm)
			}
		}
	}
	if have != "none" { // a KMS key is somebody's choice; readers then need its use, too
		seen.differ("encryption", want.Encryption, have, nil)
		return nil
	}
	seen.differ("encryption", want.Encryption, have, func(ctx context.Context) error {
		_, err := s.Clients.S3.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{
			Bucket: &want.Name,
			ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
				ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryption(want.Encryption)},
			}}},
		})
		return err
	})
	return nil
}

func (s *Setup) lookAtOwnership(ctx context.Context, want BucketSpec, seen *sight) error {
	out, err := s.Clients.S3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &want.Name})
	if err != nil && codeOf(err) != "OwnershipControlsNotFoundError" {
		return err
	}
	have := "none"
	if out != nil && out.OwnershipControls != nil {
		for _, rule := range out.OwnershipControls.Rules {
			have = string(rule.ObjectOwnership)
		}
	}
	seen.differ("ownership", want.Ownership, have, func(ctx context.Context) error {
		_, err := s.Clients.S3.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{
			Bucket: &want.Name,
			OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{
				{ObjectOwnership: types.ObjectOwnership(want.Ownership)},
			}},
		})
		return err
	})
	return nil
}

// codeOf is the service's code of an error, or "".
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

package mototest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tallystream/service/cloud"
)

func bucket(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	_, err := c.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &n.Bucket})
	return err
}

// lost says that a conditional put found something else.
func lost(err error) error {
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() == http.StatusPreconditionFailed {
		return errLost
	}
	return err
}

func oneRacerPuts(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := bucket(ctx, c, n); err != nil {
		return err
	}
	return race(30, func(i int) error {
		_, err := c.S3.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &n.Bucket, Key: aws.String("snapshots/1"), Body: strings.NewReader(fmt.Sprint(i)), IfNoneMatch: aws.String("*"),
		})
		return lost(err)
	})
}

func replacedIfMatch(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := bucket(ctx, c, n); err != nil {
		return err
	}
	put := func(body string, match *string) (*string, error) {
		out, err := c.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &n.Bucket, Key: aws.String("latest"), Body: strings.NewReader(body), IfMatch: match})
		if err != nil {
			return nil, lost(err)
		}
		return out.ETag, nil
	}
	one, err := put("1", nil)
	if err != nil {
		return err
	}
	if _, err := put("2", one); err != nil {
		return fmt.Errorf("with the right tag: %w", err)
	}
	if _, err := put("3", one); !errors.Is(err, errLost) {
		return fmt.Errorf("with an old tag: %v", err)
	}
	return nil
}

func edwardsSigns(ctx context.Context, c *cloud.Clients, _ cloud.Names) error {
	created, err := c.KMS.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistEdwards25519, KeyUsage: types.KeyUsageTypeSignVerify})
	if err != nil {
		return err
	}
	id := created.KeyMetadata.KeyId
	sign := func(message []byte) (*kms.SignOutput, error) {
		return c.KMS.Sign(ctx, &kms.SignInput{
			KeyId: id, Message: message, MessageType: types.MessageTypeRaw, SigningAlgorithm: types.SigningAlgorithmSpecEd25519Sha512,
		})
	}
	message := bytes.Repeat([]byte("note"), 1024)
	signed, err := sign(message)
	if err != nil {
		return err
	}
	if _, err := sign(append(message, '\n')); err == nil {
		return errors.New("a message of 4,097 bytes was signed")
	}
	public, err := c.KMS.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: id})
	if err != nil {
		return err
	}
	parsed, err := x509.ParsePKIXPublicKey(public.PublicKey)
	if err != nil {
		return err
	}
	edwards, ok := parsed.(ed25519.PublicKey)
	if !ok || !ed25519.Verify(edwards, message, signed.Signature) {
		return fmt.Errorf("a %T does not verify what it signed", parsed)
	}
	return nil
}

package tofu

import (
	"strconv"
	"strings"

	"tallystream/infra/check"
)

// encryptedBy says for each type where its key is named.
var encryptedBy = map[string][]string{
	"aws_cloudwatch_log_group":  {"kms_key_id"},
	"aws_dynamodb_table":        {"server_side_encryption", "kms_key_arn"},
	"aws_kinesis_stream":        {"kms_key_id"},
	"aws_lambda_function":       {"kms_key_arn"},
	"aws_secretsmanager_secret": {"kms_key_id"},
	"aws_sns_topic":             {"kms_master_key_id"},
	"aws_sqs_queue":             {"kms_master_key_id"},
	"aws_ecr_repository":        {"encryption_configuration", "kms_key"},
	"aws_ecs_cluster":           {"configuration", "managed_storage_configuration", "fargate_ephemeral_storage_kms_key_id"},
}

func encryption(d Deployment) []check.Finding {
	l := look{Deployment: d}
	for typ, path := range encryptedBy {
		l.each("resource", typ, func(m *check.Module, b *check.Block) {
			if key := at(m, b.Body, path...); !strings.HasPrefix(key, "aws_kms_key.") {
				l.add(b.At, "%s: %s is %q, want a key of ours", b.Address(), path[len(path)-1], key)
			}
		})
	}
	l.each("resource", "aws_kinesis_stream", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"KMS"}, "encryption_type")
	})
	l.each("resource", "aws_dynamodb_table", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"true"}, "server_side_encryption", "enabled")
	})
	l.each("resource", "aws_s3_bucket", func(m *check.Module, b *check.Block) {
		if c := l.companion(m, b, "aws_s3_bucket_server_side_encryption_configuration", "bucket"); c != nil {
			l.want(m, c, []string{"AES256", "aws:kms"}, "rule", "apply_server_side_encryption_by_default", "sse_algorithm")
		}
	})
	return l.found
}

func keys(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("resource", "aws_kms_key", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"30"}, "deletion_window_in_days")
		l.present(m, b, "policy")
		if argument(m, b.Body, "key_usage") != "SIGN_VERIFY" {
			l.want(m, b, []string{"true"}, "enable_key_rotation")
			return
		}
		l.want(m, b, []string{"ECC_NIST_EDWARDS25519"}, "customer_master_key_spec")
		l.want(m, b, []string{"true"}, "multi_region")
		l.want(m, b, []string{""}, "enable_key_rotation")
	})
	return l.found
}

func public(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("resource", "aws_s3_bucket", func(m *check.Module, b *check.Block) {
		if c := l.companion(m, b, "aws_s3_bucket_public_access_block", "bucket"); c != nil {
			for _, name := range []string{"block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"} {
				l.want(m, c, []string{"true"}, name)
			}
		}
		if c := l.companion(m, b, "aws_s3_bucket_ownership_controls", "bucket"); c != nil {
			l.want(m, c, []string{"BucketOwnerEnforced"}, "rule", "object_ownership")
		}
		l.companion(m, b, "aws_s3_bucket_policy", "bucket")
		l.want(m, b, []string{""}, "acl")
	})
	for _, typ := range []string{"aws_s3_bucket_acl", "aws_s3_bucket_website_configuration", "aws_s3_bucket_object"} {
		l.each("resource", typ, func(_ *check.Module, b *check.Block) {
			l.add(b.At, "%s: a bucket that is read through CloudFront has none", b.Address())
		})
	}
	l.each("resource", "aws_cloudfront_distribution", func(m *check.Module, b *check.Block) {
		for _, o := range nested(m, b.Body, "origin") {
			bucket := one(m, o.Body, "custom_origin_config") == nil
			if bucket && argument(m, o.Body, "origin_access_control_id") == "" {
				l.add(o.At, "%s: an origin without origin_access_control_id: its bucket would have to be public", b.Address())
			}
		}
	})
	l.eachStatement(func(m *check.Module, document *check.Block, s nestedBlock) {
		if strings.HasPrefix(document.Name, "endpoint") || argument(m, s.Body, "effect") == "Deny" {
			return // rights looks at endpoints
		}
		for _, p := range nested(m, s.Body, "principals") {
			// The variable is validated: ARNs of roles, without wildcards.
			who, ok := list(m, p.Body, "identifiers")
			if named := ok && !contains(who, "*") || argument(m, p.Body, "identifiers") == "var.administrators"; !named {
				l.add(p.At, "%s: everybody is allowed something", document.Address())
			}
		}
	})
	return l.found
}

// held are the types whose loss loses data.
var held = []string{"aws_kinesis_stream", "aws_dynamodb_table", "aws_s3_bucket", "aws_kms_replica_key"}

// derived are buckets whose content is computed from public files, by name, with
// what becomes of it if it is lost. Their versions need no lock.
var derived = map[string]string{"verified": "the function verify begins at the first leaf again"}

func recovery(d Deployment) []check.Finding {
	l := look{Deployment: d}
	for _, typ := range held {
		l.each("resource", typ, func(m *check.Module, b *check.Block) {
			l.want(m, b, []string{"true"}, "lifecycle", "prevent_destroy")
		})
	}
	l.each("resource", "aws_dynamodb_table", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"true"}, "point_in_time_recovery", "enabled")
		l.want(m, b, []string{"35"}, "point_in_time_recovery", "recovery_period_in_days")
		l.want(m, b, []string{"true"}, "deletion_protection_enabled")
		for _, r := range nested(m, b.Body, "replica") {
			l.add(r.At, "%s: a global table lets the last writer win (infra/README.md)", b.Address())
		}
	})
	l.each("resource", "aws_s3_bucket", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"false"}, "force_destroy")
		if derived[b.Name] == "" {
			l.want(m, b, []string{"true"}, "object_lock_enabled")
		}
		if c := l.companion(m, b, "aws_s3_bucket_versioning", "bucket"); c != nil {
			l.want(m, c, []string{"Enabled"}, "versioning_configuration", "status")
		}
	})
	l.each("resource", "aws_lb", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"true"}, "enable_deletion_protection")
	})
	if m := d.Modules[Region]; m != nil {
		published := false
		for _, c := range m.Of("resource", "aws_s3_bucket_replication_configuration") {
			published = published || argument(m, c.Body, "bucket") == "aws_s3_bucket.published.id"
			l.want(m, c, []string{"Enabled"}, "rule", "status")
			l.want(m, c, []string{"Disabled"}, "rule", "delete_marker_replication", "status")
		}
		if !published {
			l.found = append(l.found, check.Finding{Message: Region + ": the published bucket has no copy"})
		}
	}
	return l.found
}

// leastStreamHours is a week.
const leastStreamHours = 168

func retention(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.each("resource", "aws_kinesis_stream", func(m *check.Module, b *check.Block) {
		hours, err := strconv.Atoi(argument(m, b.Body, "retention_period"))
		if err != nil || hours < leastStreamHours {
			l.add(b.At, "%s: retention_period is %d hours, want %d", b.Address(), hours, leastStreamHours)
		}
	})
	l.each("resource", "aws_cloudwatch_log_group", func(m *check.Module, b *check.Block) {
		// What the collector writes there becomes metrics, which are kept 15 months.
		if got := argument(m, b.Body, "retention_in_days"); got != "var.log_retention_days" && !(b.Name == "metrics" && got == "30") {
			l.add(b.At, "%s: retention_in_days is %q, want var.log_retention_days", b.Address(), got)
		}
	})
	l.each("resource", "aws_s3_bucket", func(m *check.Module, b *check.Block) {
		days := "var.log_retention_days"
		if b.Name == "published" {
			days = "var.object_lock_days"
		}
		l.companion(m, b, "aws_s3_bucket_lifecycle_configuration", "bucket")
		if derived[b.Name] != "" {
			return
		}
		if c := l.companion(m, b, "aws_s3_bucket_object_lock_configuration", "bucket"); c != nil {
			l.want(m, c, []string{"COMPLIANCE"}, "rule", "default_retention", "mode")
			l.want(m, c, []string{days}, "rule", "default_retention", "days")
		}
	})
	l.eachCall(Archive, func(m *check.Module, call *check.Block) {
		l.want(m, call, []string{"var.log_retention_days"}, "log_retention_days")
	})
	return l.found
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

package tofu_test

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"tallystream/infra/check"
	"tallystream/infra/tofu"
)

// planted is a mistake put into a copy of the deployment, and what must be said.
type planted struct {
	finder string // a policy's name, or arguments, references, tidy
	file   string
	old    string // replaced where it first stands; empty: the new text is added to the file
	new    string
	says   string // part of the finding
}

const (
	region   = "modules/region/"
	global   = "modules/global/"
	archives = "modules/archive/"
	root     = "environments/example/"
)

var plants = []planted{
	{"encryption", region + "stream.tf", `encryption_type  = "KMS"`, `encryption_type  = "NONE"`, `encryption_type is "NONE"`},
	{"encryption", region + "tables.tf", "kms_key_arn = aws_kms_key.data.arn", "", "aws_dynamodb_table.ledger: kms_key_arn"},
	{"encryption", region + "secrets.tf", "kms_key_id              = aws_kms_key.data.arn", "", "aws_secretsmanager_secret.this: kms_key_id"},
	{"encryption", region + "alarms.tf", "kms_master_key_id = aws_kms_key.data.arn", `kms_master_key_id = "alias/aws/sns"`, "want a key of ours"},
	{"encryption", region + "bucket.tf", `resource "aws_s3_bucket_server_side_encryption_configuration" "published" {
  bucket = aws_s3_bucket.published.id`, `resource "aws_s3_bucket_server_side_encryption_configuration" "published" {
  bucket = "another"`, "there is no aws_s3_bucket_server_side_encryption_configuration for it"},
	{"encryption", archives + "bucket.tf", `sse_algorithm = "AES256"`, `sse_algorithm = ""`, "aws_s3_bucket_server_side_encryption_configuration.archive: sse_algorithm"},

	{"keys", region + "signing.tf", "ECC_NIST_EDWARDS25519", "RSA_2048", `customer_master_key_spec is "RSA_2048"`},
	{"keys", region + "encryption.tf", "enable_key_rotation     = true", "enable_key_rotation     = false", `enable_key_rotation is "false"`},
	{"keys", region + "signing.tf", "multi_region             = true", "multi_region             = false", `multi_region is "false"`},

	{"public", region + "bucket.tf", "restrict_public_buckets = true", "restrict_public_buckets = false", `restrict_public_buckets is "false"`},
	{"public", region + "bucket.tf", `type        = "Service"
        identifiers = ["cloudfront.amazonaws.com"]`, `type        = "AWS"
        identifiers = ["*"]`, "everybody is allowed something"},
	{"public", region + "bucket.tf", "", `
resource "aws_s3_bucket_acl" "published" {
  bucket = aws_s3_bucket.published.id
  acl    = "public-read"
}`, "aws_s3_bucket_acl.published"},
	{"public", global + "results.tf", "origin_access_control_id = aws_cloudfront_origin_access_control.bucket.id", "", "would have to be public"},
	{"public", archives + "bucket.tf", "block_public_policy     = true", "block_public_policy     = false", "aws_s3_bucket_public_access_block.archive: block_public_policy"},
	{"public", archives + "policy.tf", "identifiers = [delivery.value.service]", `identifiers = ["*"]`, "everybody is allowed something"},

	{"rights", region + "roles.tf", `"kinesis:PutRecords"`, `"kinesis:*"`, `the action "kinesis:*" is a wildcard`},
	{"rights", region + "roles.tf", "resources = [local.home_stream_arn]", `resources = ["*"]`, `the resource "*" is a wildcard`},
	{"rights", region + "roles.tf", "resources = [local.home_ledger_arn]", `resources = ["arn:aws:dynamodb:us-east-1:111122223333:table/*"]`, "is a wildcard"},
	{"rights", region + "roles.tf", "resources = [local.home_ledger_arn]", "resources = var.administrators", "cannot be read here|not a list that can be read here"},
	{"rights", region + "roles.tf", `actions   = ["s3:ListBucket"]`, `not_actions = ["s3:DeleteObject"]`, "gives everything but"},
	{"rights", region + "endpoints.tf", `values   = [local.account]`, `values   = ["111122223333", "999988887777"]`, "no condition on aws:PrincipalAccount"},
	{"rights", region + "roles.tf", "", `
resource "aws_iam_role_policy_attachment" "admin" {
  role       = aws_iam_role.task["ingest"].name
  policy_arn = "arn:aws:iam::aws:policy/AdministratorAccess"
}`, "rights are given to roles, by documents of ours"},
	{"rights", region + "archive.tf", `prefixes  = ["flow", "live"]`, `prefixes  = ["flow", "*"]`, `module.archive.FlowAndNetworkLogs: nobody delivers below the prefix "*"`},
	{"rights", global + "logs.tf", `prefixes  = ["AWSLogs"]`, "prefixes  = var.regions", "its prefixes are not a list that can be read here"},
	{"rights", region + "archive.tf", "service   = \"delivery.logs.amazonaws.com\"\n", "", "its service and its prefixes cannot be read here"},
	{"rights", region + "archive.tf", `"cloudtrail.amazonaws.com"`, `"*"`, "module.archive.Trail: its service is not one of AWS"},
	{"rights", global + "logs.tf", `condition = { variable = "aws:SourceAccount", values = [local.account, local.archive_account] }`, "", `module.archive.EdgeLogs: "AWSLogs" takes logs of every account`},
	{"rights", global + "logs.tf", "deliveries = {", "deliveries = var.regions\n\n  spare = {", "its deliveries are not written out"},
	{"rights", archives + "policy.tf", "in delivery.value.prefixes", `in ["*"]`, "a statement that is not a delivery's"},
	{"rights", archives + "policy.tf", "identifiers = [delivery.value.service]", `identifiers = ["s3.amazonaws.com"]`, "a statement that is not a delivery's"},
	{"rights", archives + "policy.tf", `variable = condition.value.variable`, `variable = "aws:SourceVpc"`, "a statement that is not a delivery's"},
	{"rights", archives + "policy.tf", "for_each = var.deliveries", "for_each = [1]", "a statement that is not a delivery's"},
	{"rights", archives + "policy.tf", `actions   = ["s3:PutObject"]`, `actions   = ["s3:*"]`, `the action "s3:*" is a wildcard`},

	{"one-writer", region + "roles.tf", `actions   = ["kinesis:PutRecords",`, `actions   = ["dynamodb:PutItem", "kinesis:PutRecords",`, "dynamodb:PutItem is allowed in regions that do not write"},
	{"one-writer", region + "roles.tf", "for_each = local.writes ? [1] : []", "for_each = [1]", "allowed in regions that do not write"},
	{"one-writer", region + "roles.tf", `actions   = ["s3:PutObject"]`, `actions   = ["s3:PutObject", "s3:DeleteObject"]`, "no service may s3:DeleteObject"},
	{"one-writer", region + "roles.tf", `["dynamodb:PutItem", "dynamodb:UpdateItem"]`, `["dynamodb:DeleteItem", "dynamodb:PutItem"]`, "the ledger forgets nothing"},
	{"one-writer", region + "signing.tf", "-publish-${var.writer_region}\"]\n    }\n\n    condition {", "-publish-${var.region}\"]\n    }\n\n    condition {", "kms:Sign is allowed in regions that do not write"},
	{"one-writer", region + "names.tf", "var.writer_region == var.region", "true", "local.writes does not compare"},
	{"one-writer", root + "regions.tf", "writer_region      = var.writer_region", `writer_region      = "us-east-1"`, "want the deployment's own switch"},
	{"one-writer", root + "regions.tf", "local.homes[var.home_region]", `local.homes["us-east-1"]`, "want that of the home region"},

	{"recovery", region + "tables.tf", "deletion_protection_enabled = true", "deletion_protection_enabled = false", `deletion_protection_enabled is "false"`},
	{"recovery", region + "tables.tf", `enabled                 = true`, `enabled                 = false`, "aws_dynamodb_table.ledger: enabled"},
	{"recovery", region + "tables.tf", "  warm_throughput {", "  replica {\n    region_name = \"us-west-2\"\n  }\n\n  warm_throughput {", "lets the last writer win"},
	{"recovery", region + "stream.tf", "prevent_destroy = true", "prevent_destroy = false", "aws_kinesis_stream.submissions: prevent_destroy"},
	{"recovery", region + "bucket.tf", `status = "Enabled"`, `status = "Suspended"`, `status is "Suspended"`},
	{"recovery", region + "bucket.tf", "force_destroy       = false", "force_destroy       = true", "force_destroy"},
	{"recovery", region + "replication.tf", `resource "aws_s3_bucket_replication_configuration" "published" {
  bucket = aws_s3_bucket.published.id`, `resource "aws_s3_bucket_replication_configuration" "published" {
  bucket = "another"`, "the published bucket has no copy"},
	{"recovery", archives + "bucket.tf", "object_lock_enabled = true", "object_lock_enabled = false", "aws_s3_bucket.archive: object_lock_enabled"},
	{"recovery", archives + "bucket.tf", "prevent_destroy = true", "prevent_destroy = false", "aws_s3_bucket.archive: prevent_destroy"},

	{"retention", region + "stream.tf", "retention_period = 168", "retention_period = 24", "retention_period is 24 hours"},
	{"retention", region + "cluster.tf", "retention_in_days = var.log_retention_days", "retention_in_days = 7", `retention_in_days is "7"`},
	{"retention", region + "bucket.tf", `mode = "COMPLIANCE"`, `mode = "GOVERNANCE"`, `mode is "GOVERNANCE"`},
	{"retention", archives + "bucket.tf", "days = var.log_retention_days\n    }\n  }\n\n  depends_on", "days = 1\n    }\n  }\n\n  depends_on", `days is "1"`},
	{"retention", region + "archive.tf", "log_retention_days = var.log_retention_days", "log_retention_days = 670", `module.archive: log_retention_days is "670"`},

	{"archive", region + "network.tf", "${module.archive.arn}/flow", "${aws_s3_bucket.published.arn}/flow", "log_destination"},
	{"archive", region + "network.tf", `traffic_type             = "ALL"`, `traffic_type             = "REJECT"`, `traffic_type is "REJECT"`},
	{"archive", region + "archive.tf", "aws = aws.archive", "aws = aws", "module.archive: its provider is not aws.archive"},
	{"archive", global + "logs.tf", "aws = aws.archive", "aws = aws", "module.archive: its provider is not aws.archive"},
	{"archive", region + "archive.tf", "= local.account\n", "= \"999988887777\"\n", `module.archive: account is "999988887777"`},
	{"archive", global + "logs.tf", `source = "../archive"`, `source = "../region"`, "modules/global: its module.archive is not modules/archive"},
	{"archive", archives + "bucket.tf", "bucket              = var.name", "provider            = aws.other\n  bucket              = var.name", "aws_s3_bucket.archive: provider"},
	{"archive", archives + "bucket.tf", "data.aws_caller_identity.this.account_id != var.account", "true", "no precondition that it is in a second account"},
	{"archive", archives + "versions.tf", `data "aws_caller_identity" "this" {}`, "data \"aws_caller_identity\" \"this\" {\n  provider = aws.other\n}", "data.aws_caller_identity.this: provider"},
	{"archive", archives + "outputs.tf", "aws_s3_bucket.archive.bucket", "var.name", `output.bucket: value is "var.name"`},
	{"archive", archives + "outputs.tf", "depends_on  = [aws_s3_bucket_policy.archive]", "", "output.bucket: it does not wait for the bucket's policy"},
	{"archive", region + "live_balancer.tf", "enabled = true\n  }\n}", "enabled = false\n  }\n}", `aws_lb.live: enabled is "false"`},
	{"archive", region + "trail.tf", "enable_log_file_validation    = true", "enable_log_file_validation    = false", "enable_log_file_validation"},
	{"archive", global + "logs.tf", "ingest = aws_cloudfront_distribution.ingest.arn", "ingest = aws_cloudfront_distribution.results.arn", "aws_cloudfront_distribution.ingest: its access log is not archived"},

	{"closed", region + "security_groups.tf", "prefix_list_id    = data.aws_ec2_managed_prefix_list.cloudfront.id", `cidr_ipv4         = "0.0.0.0/0"`, "aws_vpc_security_group_ingress_rule.cloudfront_to_ingest: open to everybody"},
	{"closed", region + "security_groups.tf", "from_port         = local.ports.https\n  to_port           = local.ports.https\n  tags              = local.tags\n}\n\nlocals {", "from_port         = 0\n  to_port           = 65535\n  tags              = local.tags\n}\n\nlocals {", "viewers_to_live: open to everybody"},
	{"closed", region + "network.tf", "resource \"aws_default_security_group\" \"this\" {\n  vpc_id = aws_vpc.this.id", "resource \"aws_default_security_group\" \"this\" {\n  vpc_id = \"vpc-1\"", "its default security group is open"},
	{"closed", region + "security_groups.tf", `description = "Nodes of the bus."
  vpc_id      = aws_vpc.this.id`, `description = "Nodes of the bus."
  vpc_id      = aws_vpc.this.id

  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }`, "rules stand on their own"},

	{"isolated", region + "services.tf", "assign_public_ip = false", "assign_public_ip = true", "assign_public_ip"},
	{"isolated", region + "services.tf", "enable_execute_command             = false", "enable_execute_command             = true", "enable_execute_command"},
	{"isolated", region + "network.tf", "", `
resource "aws_route" "private_internet" {
  route_table_id         = aws_route_table.private.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}`, "a way to the internet from a private subnet"},

	{"containers", region + "services.tf", "readonlyRootFilesystem = true", "readonlyRootFilesystem = false", "readonlyRootFilesystem must be true"},
	{"containers", region + "services.tf", `user                   = "65532:65532"`, `user                   = "0"`, "user must be 65532:65532"},
	{"containers", region + "services.tf", `drop = ["ALL"]`, `drop = ["NET_RAW"]`, "capabilities must drop ALL"},
	{"containers", region + "services.tf", `merge(local.hardening, {
      name             = "collector"`, `merge({}, {
      name             = "collector"`, "2 containers, 1 hardened"},
	{"containers", region + "bus.tf", `essential    = true`, `essential    = true
    privileged   = true`, "privileged stands in local.hardening and nowhere else"},

	{"digests", region + "bus.tf", "image        = var.images.bus", `image        = "nats:2.11"`, `the image "nats:2.11" is not one of var.images`},
	{"digests", region + "cluster.tf", "@sha256:[0-9a-f]{64}$", ":[a-z0-9.-]+$", "nothing refuses a tag"},
	{"digests", region + "registry.tf", `"IMMUTABLE"`, `"MUTABLE"`, `image_tag_mutability is "MUTABLE"`},
	{"digests", region + "functions.tf", "source_code_hash               = var.functions.code[each.key].sha256", "", "source_code_hash"},

	{"instances", region + "cluster.tf", "", `
resource "aws_launch_template" "fanout" {
  name     = "fanout"
  image_id = "ami-0123456789abcdef0"

  metadata_options {
    http_tokens                 = "optional"
    http_put_response_hop_limit = 1
  }
}`, `http_tokens is "optional"`},
	{"instances", region + "cluster.tf", "", `
resource "aws_launch_template" "fanout" {
  name     = "fanout"
  image_id = "ami-0123456789abcdef0"
}`, "does not say that its disk is encrypted"},

	{"secrets", region + "secrets.tf", "", `
resource "aws_secretsmanager_secret_version" "bus" {
  secret_id     = aws_secretsmanager_secret.this["bus_url"].id
  secret_string = "tls://tallystream:hunter2@bus:4222"
}`, "its value would be in the state"},
	{"secrets", root + "providers.tf", `alias               = "east"`, "alias               = \"east\"\n  access_key          = \"AKIA0123456789ABCDEF\"", "access_key; providers enter by a role"},
	{"secrets", region + "services.tf", `TALLYSTREAM_DATA       = "/election"`, `TALLYSTREAM_DATA       = "PRIVATE+KEY+franklin/ingest+1+abc"`, "local.environment: a secret in the text"},
	{"secrets", region + "ingest_balancer.tf", "sensitive   = true", "", "var.origin_secret: not sensitive"},

	{"tls", region + "live_balancer.tf", "ssl_policy        = local.tls_policy", `ssl_policy        = "ELBSecurityPolicy-2016-08"`, `ssl_policy is "ELBSecurityPolicy-2016-08"`},
	{"tls", region + "ingest_balancer.tf", "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS13-1-0-2021-06", "ELBSecurityPolicy-TLS13-1-0-2021-06"},
	{"tls", region + "ingest_balancer.tf", `protocol          = "HTTPS"`, `protocol          = "HTTP"`, `protocol "HTTP" is not encrypted`},
	{"tls", global + "results.tf", "TLSv1.2_2021", "TLSv1", `minimum_protocol_version is "TLSv1"`},
	{"tls", global + "results.tf", `viewer_protocol_policy     = "redirect-to-https"`, `viewer_protocol_policy     = "allow-all"`, `viewer_protocol_policy is "allow-all"`},
	{"tls", global + "submissions.tf", `["TLSv1.2"]`, `["TLSv1", "TLSv1.2"]`, "not asked over TLS 1.2"},
	{"tls", region + "bucket.tf", `variable = "aws:SecureTransport"`, `variable = "aws:SourceVpc"`, "does not refuse what comes without TLS"},
	{"tls", region + "bus.tf", `min_version: "1.3"`, `min_version: "1.2"`, "the bus listens in"},
	{"tls", archives + "policy.tf", `variable = "aws:SecureTransport"`, `variable = "aws:SourceVpc"`, "aws_s3_bucket_policy.archive: it does not refuse what comes without TLS"},

	{"scaling", region + "scaling.tf", "ActiveFlowCount_TLS", "ProcessedBytes", "fanout is not scaled by ActiveFlowCount_TLS"},
	{"scaling", region + "scaling.tf", "GetRecords.IteratorAgeMilliseconds", "GetRecords.Bytes", "aggregate is not scaled"},
	{"scaling", region + "scaling.tf", "tallystream_stream_queue_records", "CPUUtilization", "ingest is not scaled"},

	{"alarms", region + "alarms.tf", `Slo = "exactness"`, `Slo = "counting-lag"`, "no alarm for the objective exactness"},
	{"alarms", region + "alarms.tf", "alarm_actions       = [aws_sns_topic.alarms.arn]", "alarm_actions       = []", "it calls nobody"},
	{"alarms", region + "alarms.tf", "${var.runbooks_url}/double-entry.md", "Good luck.", "does not end with"},
	{"alarms", region + "alarms.tf", `treat_missing_data  = "breaching"`, "", "treat_missing_data"},
	{"alarms", global + "alarms.tf", "endpoint  = each.key", `endpoint  = "nobody"`, "nobody subscribes"},

	{"tags", region + "stream.tf", "tags             = local.tags", "", "aws_kinesis_stream.submissions: no tags"},
	{"tags", archives + "bucket.tf", "tags                = var.tags", "", "aws_s3_bucket.archive: no tags"},
	{"tags", global + "logs.tf", "tags               = local.tags", "tags               = {}", "module.archive: tags"},

	{"arguments", region + "stream.tf", "shard_count      =", "shards           =", "there is no argument shards"},
	{"arguments", region + "stream.tf", "name             = local.stream_name", "", "name is required"},
	{"arguments", region + "stream.tf", "retention_period = 168", `retention_period = "a week"`, "retention_period: a number is required"},
	{"arguments", region + "stream.tf", "tags             = local.tags\n", "tags = local.tags\n  id = \"x\"\n  tags_all = {}\n  arn = \"x\"\n  shard_level_metric = []\n", "there is no argument shard_level_metric"},
	{"arguments", region + "network.tf", "enable_dns_support   = true", `default_network_acl_id = "acl-1"`, "default_network_acl_id is the provider's to say"},
	{"arguments", region + "stream.tf", "stream_mode_details {", "stream_mode_details = {", "stream_mode_details is a block, not an argument"},
	{"arguments", region + "network.tf", "destination_options {", "destination_option {", "there is no block destination_option"},
	{"arguments", region + "tables.tf", "  ttl {\n    enabled        = true\n    attribute_name = \"expires\"\n  }", "  ttl {\n    enabled = true\n  }\n\n  ttl {\n    enabled = true\n  }", "2 of block ttl, want at most 1"},
	{"arguments", global + "results.tf", "  restrictions {\n    geo_restriction {\n      restriction_type = \"none\" # the rules' store closes countries, without a deploy\n    }\n  }\n", "", "0 of block restrictions, want at least 1"},
	{"arguments", region + "network.tf", `resource "aws_vpc" "this"`, `resource "aws_vpcs" "this"`, "the provider has no resource aws_vpcs"},
	{"arguments", root + "providers.tf", "allowed_account_ids", "allowed_accounts", "there is no argument allowed_accounts"},
	{"arguments", region + "stream.tf", "prevent_destroy", "prevent_deletion", "lifecycle has no prevent_deletion"},
	{"arguments", region + "bucket.tf", "content {\n      sid       = \"CloudFront\"", "contents {\n      sid       = \"CloudFront\"", "needs one content"},

	{"references", region + "stream.tf", "aws_kms_key.data.arn", "aws_kms_key.stream.arn", "there is no aws_kms_key.stream"},
	{"references", region + "stream.tf", "aws_kms_key.data.arn", "aws_kms_key.data.number", "aws_kms_key has no number"},
	{"references", region + "stream.tf", "var.shards\n", "var.shard\n", "there is no var.shard"},
	{"references", region + "stream.tf", "local.tags", "local.labels", "there is no local.labels"},
	{"references", region + "stream.tf", "local.stream_name", "each.key", "each without for_each in aws_kinesis_stream.submissions"},
	{"references", region + "stream.tf", "local.stream_name", "data.aws_region.this.name", "there is no data.aws_region.this"},
	{"references", region + "stream.tf", "", "\nvariable \"spare\" {\n  type = string\n}\n", "var.spare is not used"},
	{"references", region + "names.tf", "locals {", "locals {\n  spare = 1", "local.spare is not used"},
	{"references", region + "stream.tf", "", "\nresource \"aws_kms_key\" \"data\" {\n}\n", "aws_kms_key.data is also at"},
	{"references", root + "regions.tf", "shards            = var.shards", "shard_count       = var.shards", "the module has no variable shard_count"},
	{"references", root + "regions.tf", "zone_id           = var.zone_id", "", "zone_id is required"},
	{"references", root + "outputs.tf", "module.east.names", "module.east.name", "module.east has no output name"},
	{"references", root + "outputs.tf", "module.east.names", "module.north.names", "there is no module.north"},

	{"tidy", region + "stream.tf", "type        = number", "", "var.shards has no type"},
	{"tidy", region + "stream.tf", `description = "Shards of the stream; each takes 1,000 records and 1 MB a second, and gives 2 MB a second."`, `description = "shards"`, "its description is not a sentence"},
	{"tidy", root + "variables.tf", "  validation {\n    condition     = length(var.owner) > 0\n    error_message = \"owner must not be empty.\"\n  }\n", "", "var.owner has no validation"},
	{"tidy", root + "outputs.tf", `  description = "The key-value store of the edge's rules."`, "", "output.rules_store_arn has no description"},
	{"tidy", region + "ingest_balancer.tf", "sensitive   = true", "sensitive   = true\n  default     = \"0123456789abcdef0123456789abcdef\"", "is sensitive and has a default"},
}

// An exception that nothing needs any more would let something else through.
func TestEachExceptionToRightsIsNeeded(t *testing.T) {
	d := tofu.Deployment{Modules: load(t, tofu.Files), Schema: readSchema(t, cutPath)}
	for _, unused := range tofu.UnusedExceptions(d) {
		t.Errorf("%s is in no statement", unused)
	}
}

// finders are everything that finds something.
func finders() map[string]func(tofu.Deployment) []check.Finding {
	out := map[string]func(tofu.Deployment) []check.Finding{
		"arguments": func(d tofu.Deployment) (all []check.Finding) {
			for _, dir := range check.Dirs(d.Modules) {
				all = append(all, check.Arguments(d.Modules[dir], d.Schema)...)
			}
			return all
		},
		"references": func(d tofu.Deployment) []check.Finding { return check.References(d.Modules, d.Schema) },
		"tidy": func(d tofu.Deployment) (all []check.Finding) {
			for _, dir := range check.Dirs(d.Modules) {
				all = append(all, check.Tidy(d.Modules[dir])...)
			}
			return all
		},
	}
	for _, p := range tofu.Policies {
		out[p.Name] = p.Check
	}
	return out
}

func TestEachPlantedViolationIsFound(t *testing.T) {
	schema, finders, whole := readSchema(t, cutPath), finders(), load(t, tofu.Files)
	caught := map[string]int{}
	for _, p := range plants {
		find := finders[p.finder]
		if find == nil {
			t.Fatalf("there is no %q", p.finder)
		}
		caught[p.finder]++
		t.Run(fmt.Sprintf("%s/%d", p.finder, caught[p.finder]), func(t *testing.T) {
			found := find(tofu.Deployment{Modules: plant(t, whole, p), Schema: schema})
			for _, f := range found {
				for _, part := range strings.Split(p.says, "|") {
					if strings.Contains(f.String(), part) {
						t.Logf("%s", f)
						return
					}
				}
			}
			t.Errorf("%s: %q in place of %q was not found; want %q, got %v", p.file, p.new, p.old, p.says, found)
		})
	}
	for name := range finders {
		if caught[name] == 0 {
			t.Errorf("%s has no planted violation: nothing shows that it can fail", name)
		}
	}
}

// plant puts the mistake into a copy of its module, beside the others as they are.
func plant(t *testing.T, whole map[string]*check.Module, p planted) map[string]*check.Module {
	t.Helper()
	dir := path.Dir(p.file)
	names, err := fs.Glob(tofu.Files, dir+"/*.tf")
	if err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{}
	for _, name := range names {
		text, err := fs.ReadFile(tofu.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		tree[name] = &fstest.MapFile{Data: text}
	}
	text := string(tree[p.file].Data)
	if p.old == "" {
		text += p.new + "\n"
	} else if !strings.Contains(text, p.old) {
		t.Fatalf("%s does not hold %q any more: plant the violation elsewhere", p.file, p.old)
	} else {
		text = strings.Replace(text, p.old, p.new, 1)
	}
	tree[p.file] = &fstest.MapFile{Data: []byte(text)}
	modules := maps.Clone(whole)
	if modules[dir], err = check.Load(tree, dir); err != nil {
		t.Fatal(err)
	}
	return modules
}

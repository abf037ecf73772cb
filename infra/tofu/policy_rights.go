package tofu

import (
	"slices"
	"strings"

	"tallystream/infra/check"
)

// eachStatement calls fn for every statement of every policy document.
func (l *look) eachStatement(fn func(m *check.Module, document *check.Block, s nestedBlock)) {
	l.each("data", "aws_iam_policy_document", func(m *check.Module, b *check.Block) {
		for _, s := range nested(m, b.Body, "statement") {
			fn(m, b, s)
		}
	})
}

// wholeResources are the only statements whose resource may be "*", by document
// and sid, each with the reason.
var wholeResources = map[string]string{
	"start RegistryToken":             "ecr:GetAuthorizationToken has no resource",
	"data_key Administer":             "in a key's own policy * is this key",
	"data_key UseByRolesOfTheAccount": "in a key's own policy * is this key",
	"data_key ServicesWithGrants":     "in a key's own policy * is this key",
	"data_key Logs":                   "in a key's own policy * is this key",
	"data_key FargateStorage":         "in a key's own policy * is this key",
	"data_key FargateGrant":           "in a key's own policy * is this key",
	"data_key Alarms":                 "in a key's own policy * is this key",
	"signing_key Administer":          "in a key's own policy * is this key",
	"signing_key Read":                "in a key's own policy * is this key",
	"signing_key Sign":                "in a key's own policy * is this key",
	"alarms_key Administer":           "in a key's own policy * is this key",
	"alarms_key AlarmsAndBudgets":     "in a key's own policy * is this key",
	"endpoint OwnAccountOnly":         "an endpoint's policy takes away and gives nothing; its conditions name the account",
}

// namedBelow are the ends of resources that stand for what has no name
// beforehand: objects in a bucket, streams of a log group, a consumer's birthday.
var namedBelow = []string{
	"aws_s3_bucket.published.arn}/*",
	"aws_s3_bucket.archive.arn}/${prefix}/*", // of those that deliveries may have (policy_archive.go)
	"local.home_bucket_arn}/*",
	"local.home_bucket_arn}/rosters/*",
	"local.home_bucket_arn}/tile/*",
	"${var.replica_bucket_arn}/*",
	"local.layer_bucket_arn}/*",
	"aws_cloudwatch_log_group.metrics.arn}:log-stream:*",
	"aws_cloudwatch_log_group.service[each.key].arn}:log-stream:*",
	"aws_cloudwatch_log_group.function[each.key].arn}:log-stream:*",
	"/consumer/${local.name}-aggregate:*",
}

func rights(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.eachStatement(func(m *check.Module, document *check.Block, s nestedBlock) {
		if argument(m, s.Body, "effect") == "Deny" {
			return
		}
		where := document.Name + " " + argument(m, s.Body, "sid")
		for _, name := range []string{"not_actions", "not_resources", "not_principals"} {
			if s.Body.Attributes[name] != nil || len(nested(m, s.Body, name)) > 0 {
				l.add(s.At, "%s: %s gives everything but", document.Address(), name)
			}
		}
		actions, ok := list(m, s.Body, "actions")
		if !ok {
			l.add(s.At, "%s: its actions are not a list that can be read here", document.Address())
		}
		for _, a := range actions {
			if strings.Contains(a, "*") && where != "endpoint OwnAccountOnly" {
				l.add(s.At, "%s: the action %q is a wildcard", document.Address(), a)
			}
		}
		l.resources(m, document, s, where)
		if where == "endpoint OwnAccountOnly" {
			l.ownAccount(m, document, s)
		}
	})
	l.delivered()
	l.eachCall(Archive, l.deliveries)
	l.each("resource", "", func(m *check.Module, b *check.Block) {
		switch b.Type {
		case "aws_iam_role_policy_attachment", "aws_iam_policy_attachment", "aws_iam_user", "aws_iam_access_key", "aws_iam_group":
			l.add(b.At, "%s: rights are given to roles, by documents of ours", b.Address())
		case "aws_iam_role_policy", "aws_iam_policy":
			if got := argument(m, b.Body, "policy"); !strings.HasPrefix(got, "data.aws_iam_policy_document.") && got != "each.value" {
				l.add(b.At, "%s: its policy is not a document that is checked", b.Address())
			}
		}
	})
	return l.found
}

func (l *look) resources(m *check.Module, document *check.Block, s nestedBlock, where string) {
	if s.Body.Attributes["resources"] == nil {
		if len(nested(m, s.Body, "principals")) == 0 {
			l.add(s.At, "%s: a statement without resources", document.Address())
		}
		return // who may assume a role: the role itself
	}
	resources, ok := list(m, s.Body, "resources")
	if !ok {
		l.add(s.At, "%s: its resources are not a list that can be read here", document.Address())
	}
	for _, r := range resources {
		if strings.Contains(r, "*") && !(r == "*" && wholeResources[where] != "") && !endsAs(r, namedBelow) {
			l.add(s.At, "%s: the resource %q is a wildcard", document.Address(), r)
		}
	}
}

// RightsOf are the rights of a service's role, as "action on resource".
func RightsOf(d Deployment, service string) []string {
	m := d.Modules[Region]
	var out []string
	for _, document := range m.Of("data", "aws_iam_policy_document") {
		if document.Name != service {
			continue
		}
		for _, s := range nested(m, document.Body, "statement") {
			actions, _ := list(m, s.Body, "actions")
			resources, _ := list(m, s.Body, "resources")
			for _, a := range actions {
				for _, r := range resources {
					out = append(out, a+" on "+r)
				}
			}
		}
	}
	return out
}

// UnusedExceptions are exceptions to the policy rights that no statement needs.
func UnusedExceptions(d Deployment) []string {
	l, used := look{Deployment: d}, map[string]bool{}
	l.eachStatement(func(m *check.Module, document *check.Block, s nestedBlock) {
		resources, _ := list(m, s.Body, "resources")
		for _, r := range resources {
			if r == "*" {
				used[document.Name+" "+argument(m, s.Body, "sid")] = true
			}
			for _, end := range namedBelow {
				used[end] = used[end] || argument(m, s.Body, "effect") != "Deny" && strings.HasSuffix(r, end)
			}
		}
	})
	l.eachCall(Archive, func(m *check.Module, call *check.Block) {
		for _, prefixes := range objectItems(call.Body.Attributes["deliveries"])["prefixes"] {
			for _, prefix := range first(texts(m, prefixes)) {
				used[prefix] = true
			}
		}
	})
	var out []string
	for where := range wholeResources {
		if !used[where] {
			out = append(out, where)
		}
	}
	for _, name := range slices.Concat(namedBelow, deliveredBelow) {
		if !used[name] {
			out = append(out, name)
		}
	}
	return out
}

// ownAccount demands of an endpoint's policy the conditions that make it narrow.
func (l *look) ownAccount(m *check.Module, document *check.Block, s nestedBlock) {
	found := map[string]bool{}
	for _, c := range nested(m, s.Body, "condition") {
		if values, ok := list(m, c.Body, "values"); ok && len(values) == 1 && values[0] == "local.account" {
			found[argument(m, c.Body, "variable")] = true
		}
	}
	for _, want := range []string{"aws:PrincipalAccount", "aws:ResourceAccount"} {
		if !found[want] {
			l.add(s.At, "%s: no condition on %s", document.Address(), want)
		}
	}
}

func endsAs(s string, ends []string) bool {
	for _, e := range ends {
		if strings.HasSuffix(s, e) {
			return true
		}
	}
	return false
}

// writing are the actions that change what the public sees or what it is made of.
var writing = map[string]bool{
	"dynamodb:BatchWriteItem": true, "dynamodb:DeleteItem": true, "dynamodb:PutItem": true, "dynamodb:UpdateItem": true,
	"kms:Sign": true, "s3:PutObject": true,
}

// never are actions that no service has.
var never = map[string]bool{
	"s3:DeleteObject": true, "s3:DeleteObjectVersion": true, "s3:BypassGovernanceRetention": true, "s3:PutBucketPolicy": true,
	"dynamodb:BatchWriteItem": true, "dynamodb:DeleteTable": true, "kinesis:DeleteStream": true, "kms:ScheduleKeyDeletion": true, "iam:PassRole": true,
}

// services are the documents of the four services' roles.
var services = map[string]bool{"ingest": true, "aggregate": true, "publish": true, "fanout": true}

func oneWriter(d Deployment) []check.Finding {
	l := look{Deployment: d}
	m := d.Modules[Region]
	for _, document := range m.Of("data", "aws_iam_policy_document") {
		if !services[document.Name] && document.Name != "signing_key" {
			continue
		}
		for _, s := range nested(m, document.Body, "statement") {
			actions, _ := list(m, s.Body, "actions")
			for _, a := range actions {
				if writing[a] && s.When != "local.writes" && !(document.Name == "signing_key" && l.writersRole(m, s)) {
					l.add(s.At, "%s: %s is allowed in regions that do not write", document.Address(), a)
				}
				if never[a] && document.Name != "signing_key" {
					l.add(s.At, "%s: no service may %s", document.Address(), a)
				}
				if resources, _ := list(m, s.Body, "resources"); a == "dynamodb:DeleteItem" && contains(resources, "local.home_ledger_arn") {
					l.add(s.At, "%s: the ledger forgets nothing", document.Address())
				}
			}
		}
	}
	l.switches()
	return l.found
}

// writersRole says whether a statement is for the publisher of the region that
// writes and nobody else.
func (l *look) writersRole(m *check.Module, s nestedBlock) bool {
	for _, c := range nested(m, s.Body, "condition") {
		roles, ok := list(m, c.Body, "values")
		if ok && len(roles) == 1 && argument(m, c.Body, "test") == "ArnEquals" && argument(m, c.Body, "variable") == "aws:PrincipalArn" {
			return strings.HasSuffix(roles[0], ":role/${local.name}-publish-${var.writer_region}")
		}
	}
	return false
}

// switches demands that all regions ask the deployment's two switches, and that a
// region writes if it is the one that they name.
func (l *look) switches() {
	l.each("module", "", func(m *check.Module, call *check.Block) {
		if m.Called(call) != Region {
			return
		}
		for _, name := range []string{"writer_region", "home_region"} {
			if got := argument(m, call.Body, name); got != "var."+name {
				l.add(call.At, "%s: %s is %q, want the deployment's own switch", call.Address(), name, got)
			}
		}
		if got := argument(m, call.Body, "home"); got != "local.homes var.home_region" && got != "local.homes[var.home_region]" {
			l.add(call.At, "%s: home is %q, want that of the home region", call.Address(), got)
		}
	})
	m := l.Modules[Region]
	for local, want := range map[string]string{"writes": "var.writer_region var.region", "is_home": "var.home_region var.region"} {
		if a := m.Locals[local]; a == nil || text(m, a.Expr) != want {
			l.found = append(l.found, check.Finding{Message: Region + ": local." + local + " does not compare " + want})
		}
	}
}

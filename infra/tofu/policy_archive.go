package tofu

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"tallystream/infra/check"
)

func archive(d Deployment) []check.Finding {
	l := look{Deployment: d}
	l.secondAccount()
	l.each("resource", "aws_vpc", func(m *check.Module, b *check.Block) {
		for _, f := range m.Of("resource", "aws_flow_log") {
			if argument(m, f.Body, "vpc_id") == b.Address()+".id" {
				return
			}
		}
		l.add(b.At, "%s: no flow log", b.Address())
	})
	l.each("resource", "aws_flow_log", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"ALL"}, "traffic_type")
		l.want(m, b, []string{"${module.archive.arn}/flow"}, "log_destination")
	})
	l.each("resource", "aws_lb", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"module.archive.bucket"}, "access_logs", "bucket")
		l.want(m, b, []string{"true"}, "access_logs", "enabled")
	})
	l.each("resource", "aws_cloudtrail", func(m *check.Module, b *check.Block) {
		l.want(m, b, []string{"module.archive.bucket"}, "s3_bucket_name")
		l.want(m, b, []string{"true"}, "enable_log_file_validation")
	})
	if len(d.Modules[Region].Of("resource", "aws_cloudtrail")) == 0 {
		l.found = append(l.found, check.Finding{Message: Region + ": there is no trail"})
	}
	l.each("resource", "aws_wafv2_web_acl", func(m *check.Module, b *check.Block) {
		for _, c := range m.Of("resource", "aws_wafv2_web_acl_logging_configuration") {
			destinations, _ := list(m, c.Body, "log_destination_configs")
			if argument(m, c.Body, "resource_arn") == b.Address()+".arn" && contains(destinations, "module.archive.arn") {
				return
			}
		}
		l.add(b.At, "%s: its log is not archived", b.Address())
	})
	l.each("resource", "aws_cloudfront_distribution", func(m *check.Module, b *check.Block) {
		a := m.Locals["distributions"]
		if a == nil || !strings.Contains(text(m, a.Expr), b.Address()+".arn") {
			l.add(b.At, "%s: its access log is not archived", b.Address())
		}
	})
	return l.found
}

// secondAccount demands that what region and edge call module.archive is that
// module, with the provider of the second account and nothing of the first; and
// that its bucket is what it hands out, once there is a policy.
func (l *look) secondAccount() {
	for _, dir := range []string{Region, Global} {
		m := l.Modules[dir]
		if !slices.ContainsFunc(m.Of("module", ""), func(call *check.Block) bool { return call.Name == "archive" && m.Called(call) == Archive }) {
			l.found = append(l.found, check.Finding{Message: dir + ": its module.archive is not " + Archive})
		}
	}
	l.eachCall(Archive, func(m *check.Module, call *check.Block) {
		l.want(m, call, []string{"local.account"}, "account")
		provider := objectItems(call.Body.Attributes["providers"])["aws"]
		if len(provider) != 1 || text(m, provider[0]) != "aws.archive" {
			l.add(call.At, "%s: its provider is not aws.archive", call.Address())
		}
	})
	m := l.Modules[Archive]
	if m == nil {
		return // said above
	}
	for _, b := range slices.Concat(m.Of("resource", ""), m.Of("data", "")) {
		l.want(m, b, []string{""}, "provider")
	}
	for _, b := range m.Of("resource", "aws_s3_bucket") {
		condition := at(m, b.Body, "lifecycle", "precondition", "condition")
		if condition != "data.aws_caller_identity.this.account_id var.account" {
			l.add(b.At, "%s: no precondition that it is in a second account", b.Address())
		}
	}
	for _, o := range m.Of("output", "") {
		l.want(m, o, []string{"aws_s3_bucket.archive." + o.Name}, "value")
		if waits, _ := list(m, o.Body, "depends_on"); !contains(waits, "aws_s3_bucket_policy.archive") {
			l.add(o.At, "%s: it does not wait for the bucket's policy", o.Address())
		}
	}
}

// deliveredBelow are the prefixes of an archive below which services of AWS may put
// what they like.
var deliveredBelow = []string{
	"AWSLogs",
	"flow",
	"live",
	"ingest/AWSLogs/${local.account}",
	"trail/AWSLogs/${local.account}",
}

// delivered demands that an archive's policy allows what its deliveries say and
// nothing else, so that looking at these is looking at the policy.
func (l *look) delivered() {
	m := l.Modules[Archive]
	if m == nil {
		return // the policy archive says so
	}
	for _, document := range m.Of("data", "aws_iam_policy_document") {
		for _, s := range nested(m, document.Body, "statement") {
			if argument(m, s.Body, "effect") != "Deny" && !ofDelivery(m, s) {
				l.add(s.At, "%s: a statement that is not a delivery's, to its service, below its prefixes, on its condition", document.Address())
			}
		}
	}
}

func ofDelivery(m *check.Module, s nestedBlock) bool {
	who, where := nested(m, s.Body, "principals"), s.Body.Attributes["resources"]
	when := nested(m, s.Body, "condition")
	if s.When != "var.deliveries" || len(who) != 1 || where == nil || len(when) != 1 || when[0].When != "delivery.value.condition" {
		return false
	}
	identifiers, _ := list(m, who[0].Body, "identifiers")
	toService := argument(m, who[0].Body, "type") == "Service" && slices.Equal(identifiers, []string{"delivery.value.service"})
	onCondition := argument(m, when[0].Body, "test") == "StringEquals" &&
		argument(m, when[0].Body, "variable") == "condition.value.variable" && argument(m, when[0].Body, "values") == "condition.value.values"
	below, ok := where.Expr.(*hclsyntax.ForExpr)
	inside := ok && text(m, below.CollExpr) == "delivery.value.prefixes" && text(m, below.ValExpr) == "${aws_s3_bucket.archive.arn}/${prefix}/*"
	resources, _ := list(m, s.Body, "resources")
	return toService && onCondition && (inside || slices.Equal(resources, []string{"aws_s3_bucket.archive.arn"}))
}

// deliveries looks at who may put logs into an archive, which the caller of its
// module says.
func (l *look) deliveries(m *check.Module, call *check.Block) {
	a := call.Body.Attributes["deliveries"]
	if a == nil {
		return // References says so
	}
	all, ok := a.Expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		l.add(a.SrcRange, "%s: its deliveries are not written out", call.Address())
		return
	}
	for _, item := range all.Items {
		l.delivery(m, call.Address()+"."+hcl.ExprAsKeyword(item.KeyExpr), item.ValueExpr)
	}
}

func (l *look) delivery(m *check.Module, where string, e hclsyntax.Expression) {
	fields := map[string]hclsyntax.Expression{}
	if object, ok := e.(*hclsyntax.ObjectConsExpr); ok {
		for _, item := range object.Items {
			fields[hcl.ExprAsKeyword(item.KeyExpr)] = item.ValueExpr
		}
	}
	if fields["service"] == nil || fields["prefixes"] == nil {
		l.add(e.Range(), "%s: its service and its prefixes cannot be read here", where)
		return
	}
	if service, ok := check.Literal(fields["service"]); !ok || !strings.HasSuffix(service, ".amazonaws.com") {
		l.add(e.Range(), "%s: its service is not one of AWS", where)
	}
	prefixes, ok := texts(m, fields["prefixes"])
	if !ok {
		l.add(e.Range(), "%s: its prefixes are not a list that can be read here", where)
	}
	_, conditional := fields["condition"].(*hclsyntax.ObjectConsExpr)
	for _, prefix := range prefixes {
		if !contains(deliveredBelow, prefix) {
			l.add(e.Range(), "%s: nobody delivers below the prefix %q", where, prefix)
		}
		if !conditional && !strings.HasSuffix(prefix, "/${local.account}") {
			l.add(e.Range(), "%s: %q takes logs of every account", where, prefix)
		}
	}
}

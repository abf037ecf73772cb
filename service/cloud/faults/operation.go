package faults

import (
	"net/http"
	"strings"
)

// Operation of a service, such as {DynamoDB, PutItem}.
type Operation struct{ Service, Name string }

// String is "DynamoDB.PutItem".
func (o Operation) String() string { return o.Service + "." + o.Name }

// targets maps the first part of X-Amz-Target to the service.
var targets = map[string]string{"Kinesis_20131202": "Kinesis", "DynamoDB_20120810": "DynamoDB", "TrentService": "KMS"}

// OperationOf reads the operation off a request of the SDK: from its target
// header, or for S3 from method, path and query.
func OperationOf(r *http.Request) Operation {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		service, name, _ := strings.Cut(target, ".")
		if known, ok := targets[service]; ok {
			service = known
		}
		return Operation{service, name}
	}
	return Operation{"S3", nameS3(r)}
}

// nameS3 names what the adapters and setup use; anything else is METHOD?query.
func nameS3(r *http.Request) string {
	query := r.URL.Query()
	if id := query.Get("x-id"); id != "" {
		return id
	}
	what := "Bucket"
	if path := strings.Trim(r.URL.Path, "/"); strings.Contains(path, "/") || !pathStyle(r) && path != "" {
		what = "Object"
	}
	if r.Method == http.MethodGet && query.Get("list-type") == "2" {
		return "ListObjectsV2"
	}
	for _, part := range []string{"versioning", "encryption", "publicAccessBlock", "ownershipControls", "location"} {
		if query.Has(part) {
			return method[r.Method] + what + strings.ToUpper(part[:1]) + part[1:]
		}
	}
	if r.Method == http.MethodPut && what == "Bucket" {
		return "CreateBucket"
	}
	return method[r.Method] + what
}

var method = map[string]string{
	http.MethodGet: "Get", http.MethodPut: "Put", http.MethodHead: "Head", http.MethodDelete: "Delete", http.MethodPost: "Post",
}

// pathStyle says that the bucket is in the path and not in the host's name.
func pathStyle(r *http.Request) bool {
	host := r.URL.Hostname()
	return !strings.Contains(host, ".s3.") && !strings.Contains(host, ".s3-")
}

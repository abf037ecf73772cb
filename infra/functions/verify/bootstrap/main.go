// Command bootstrap is the Lambda function `verify`, whose work is in the
// package above it.
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"tallystream/infra/functions"
	"tallystream/infra/functions/verify"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	h, err := verify.New(context.Background(), functions.FromEnvironment(os.Getenv), log)
	if err != nil {
		log.Error("starting", "err", err)
		os.Exit(1)
	}
	h.Now, h.Sleep = time.Now, functions.Sleep
	lambda.Start(h.Handle)
}

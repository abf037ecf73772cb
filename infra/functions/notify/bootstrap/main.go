// Command bootstrap is the Lambda function `notify`, whose work is in the
// package above it.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"tallystream/infra/functions"
	"tallystream/infra/functions/notify"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	h, err := notify.New(context.Background(), functions.FromEnvironment(os.Getenv), log)
	if err != nil {
		log.Error("starting", "err", err)
		os.Exit(1)
	}
	lambda.Start(h.Handle)
}

package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// lintMetrics: `promlint <metrics`, in Prometheus' text format. Prints the problems as [{"Metric", "Text"}].
func lintMetrics([]string) (any, error) {
	problems, err := promlint.New(os.Stdin).Lint()
	if problems == nil {
		problems = []promlint.Problem{}
	}
	return problems, err
}

// parseRules: `rules FILE...`, with Prometheus' own parser. Prints how many groups there are.
func parseRules(files []string) (any, error) {
	groups := 0
	var all []error
	for _, file := range files {
		parsed, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.Default())
		all = append(all, errs...)
		if parsed != nil {
			groups += len(parsed.Groups)
		}
	}
	return map[string]int{"groups": groups}, errors.Join(all...)
}

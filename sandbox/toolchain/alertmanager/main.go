// Reads an AlertmanagerConfig with cases of alerts that fire together, and writes what Alertmanager would do: the
// operator's own builder makes its configuration, Alertmanager's own packages load it, route and inhibit.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sort"
	"time"

	"github.com/blang/semver/v4"
	operator "github.com/prometheus-operator/prometheus-operator/pkg/alertmanager"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
)

// Set by the linker to the version that go.mod pins.
var alertmanagerVersion string

// What a cluster's base configuration holds besides the operator's objects: somewhere for everything else.
const base = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"

type question struct {
	Config  monitoringv1alpha1.AlertmanagerConfig `json:"config"`
	Secrets []corev1.Secret                       `json:"secrets"`
	Cases   [][]map[string]string                 `json:"cases"`
}

type delivery struct {
	Receiver       string            `json:"receiver"`
	Group          map[string]string `json:"group"`
	GroupWait      float64           `json:"groupWaitSeconds"`
	GroupInterval  float64           `json:"groupIntervalSeconds"`
	RepeatInterval float64           `json:"repeatIntervalSeconds"`
}

type outcome struct {
	Muted      bool       `json:"muted"`
	Deliveries []delivery `json:"deliveries"`
}

type answer struct {
	Configuration string      `json:"configuration"`
	Receivers     []string    `json:"receivers"`
	Cases         [][]outcome `json:"cases"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "alertrouting:", err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	ctx, logger := context.Background(), slog.New(slog.NewTextHandler(io.Discard, nil))
	text, err := generate(ctx, logger, &asked)
	if err != nil {
		return err
	}
	loaded, err := config.Load(text)
	if err != nil {
		return fmt.Errorf("Alertmanager refuses the generated configuration: %w", err)
	}
	found := answer{Configuration: text}
	for _, receiver := range loaded.Receivers {
		found.Receivers = append(found.Receivers, receiver.Name)
	}
	sort.Strings(found.Receivers)
	root := dispatch.NewRoute(loaded.Route, nil)
	for _, firing := range asked.Cases {
		outcomes, err := decide(ctx, logger, loaded, root, firing)
		if err != nil {
			return err
		}
		found.Cases = append(found.Cases, outcomes)
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func generate(ctx context.Context, logger *slog.Logger, asked *question) (string, error) {
	objects := make([]any, 0, len(asked.Secrets))
	for index := range asked.Secrets {
		objects = append(objects, &asked.Secrets[index])
	}
	builder := operator.NewConfigBuilder(
		logger, semver.MustParse(alertmanagerVersion), assets.NewTestStoreBuilder(objects...), &monitoringv1.Alertmanager{},
	)
	if err := builder.InitializeFromRawConfiguration([]byte(base)); err != nil {
		return "", err
	}
	name := asked.Config.Namespace + "/" + asked.Config.Name
	configs := map[string]*monitoringv1alpha1.AlertmanagerConfig{name: &asked.Config}
	if err := builder.AddAlertmanagerConfigs(ctx, configs); err != nil {
		return "", fmt.Errorf("the operator refuses the object: %w", err)
	}
	text, err := builder.MarshalJSON()
	return string(text), err
}

func decide(
	ctx context.Context, logger *slog.Logger, loaded *config.Config, root *dispatch.Route, firing []map[string]string,
) ([]outcome, error) {
	store, err := mem.NewAlerts(
		ctx, time.Hour, 0, nil, logger, eventrecorder.NopRecorder(), prometheus.NewRegistry(), featurecontrol.NoopFlags{},
	)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	now := time.Now()
	var labels []model.LabelSet
	for _, each := range firing {
		set := model.LabelSet{}
		for name, value := range each {
			set[model.LabelName(name)] = model.LabelValue(value)
		}
		labels = append(labels, set)
		fired := &alert.Alert{Alert: model.Alert{Labels: set, StartsAt: now, EndsAt: now.Add(time.Hour)}, UpdatedAt: now}
		if err := store.Put(ctx, fired); err != nil {
			return nil, err
		}
	}
	inhibitor := inhibit.NewInhibitor(store, loaded.InhibitRules, logger, eventrecorder.NopRecorder())
	go inhibitor.Run()
	inhibitor.WaitForLoading()
	defer inhibitor.Stop()
	outcomes := make([]outcome, 0, len(labels))
	for _, set := range labels {
		outcomes = append(outcomes, outcome{Muted: inhibitor.Mutes(ctx, set), Deliveries: deliveries(root, set)})
	}
	return outcomes, nil
}

func deliveries(root *dispatch.Route, labels model.LabelSet) []delivery {
	var found []delivery
	for _, route := range root.Match(labels) {
		options := route.RouteOpts
		group := map[string]string{}
		for name := range options.GroupBy {
			if value, ok := labels[name]; ok {
				group[string(name)] = string(value)
			}
		}
		found = append(found, delivery{
			Receiver:       options.Receiver,
			Group:          group,
			GroupWait:      options.GroupWait.Seconds(),
			GroupInterval:  options.GroupInterval.Seconds(),
			RepeatInterval: options.RepeatInterval.Seconds(),
		})
	}
	return found
}

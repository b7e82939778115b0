//! What is counted, and the text Prometheus reads; `api::metrics` serves it. It names repositories of
//! nobody, but says how busy the appliance is.
//!
//! Labels are `&'static str`s from route tables, never text of a request, so that a client cannot
//! make series. A surface marks its answers with a [`Route`] extension; the rest is counted as
//! `other`.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Put into an answer's extensions by the surface that made it: a row of its route table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The surface: `registry`, `health`, ...
    pub surface: &'static str,
    /// The row's name.
    pub route: &'static str,
}

impl Default for Route {
    fn default() -> Self {
        Self { surface: "other", route: "other" }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    surface: &'static str,
    route: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SurfaceLabels {
    surface: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// Handle to everything that is counted; clones count into the same place.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<SurfaceLabels, Histogram>,
    received: Counter,
    sent: Counter,
    connections: Gauge,
    shed: Counter,
    refused: Counter,
    in_flight: Gauge,
}

impl Metrics {
    /// Counters at zero. `more` registers what other rooms count, under the prefix `pierhead_`.
    pub fn new(more: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("pierhead");
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<SurfaceLabels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let (received, sent) = (Counter::default(), Counter::default());
        let (connections, in_flight) = (Gauge::default(), Gauge::default());
        let (shed, refused) = (Counter::default(), Counter::default());
        registry.register("requests", "Requests answered", requests.clone());
        registry.register("request_duration_seconds", "From the head to the last byte", durations.clone());
        registry.register("received_bytes", "Bytes of request bodies", received.clone());
        registry.register("sent_bytes", "Bytes of answers' bodies", sent.clone());
        registry.register("connections", "Open connections", connections.clone());
        registry.register("connections_shed", "Idle ones closed to make room", shed.clone());
        registry.register(
            "connections_refused",
            "Closed at once: their address had too many",
            refused.clone(),
        );
        registry.register("requests_in_flight", "Requests not yet answered whole", in_flight.clone());
        registry.register("build", "This build", Info::new(BuildLabels { version: crate::version::VERSION }));
        more(&mut registry);
        let inner =
            Inner { registry, requests, durations, received, sent, connections, shed, refused, in_flight };
        Self { inner: Arc::new(inner) }
    }

    /// A connection came (`1`) or went (`-1`).
    pub fn connection(&self, change: i64) {
        self.inner.connections.inc_by(change);
    }

    /// So many idle connections were asked to end.
    pub fn shed_connections(&self, count: u64) {
        self.inner.shed.inc_by(count);
    }

    /// A connection was closed at once, its address having too many.
    pub fn refused_connection(&self) {
        self.inner.refused.inc();
    }

    /// A request began (`1`) or ended (`-1`).
    pub fn in_flight(&self, change: i64) {
        self.inner.in_flight.inc_by(change);
    }

    /// Bytes of a request body arrived.
    pub fn received(&self, bytes: u64) {
        self.inner.received.inc_by(bytes);
    }

    /// Bytes of an answer were handed to the connection.
    pub fn sent(&self, bytes: u64) {
        self.inner.sent.inc_by(bytes);
    }

    /// An answer ended.
    pub fn answered(&self, route: Route, status: StatusCode, took: Duration) {
        let Route { surface, route } = route;
        self.inner.requests.get_or_create(&RequestLabels { surface, route, code: class(status) }).inc();
        self.inner.durations.get_or_create(&SurfaceLabels { surface }).observe(took.as_secs_f64());
    }

    /// The text Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; a metric that cannot be written is left out.
        let _ = encode(&mut text, &self.inner.registry);
        text
    }
}

/// Seconds: from a manifest out of memory to a 10 GiB layer over a slow line.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0];

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_counter_with_what_was_counted() {
        let metrics = Metrics::new(|registry| registry.register("extra", "More", Gauge::<i64>::default()));
        let route = Route { surface: "registry", route: "blob" };
        metrics.answered(route, StatusCode::NOT_FOUND, Duration::from_millis(3));
        metrics.connection(1);
        metrics.received(7);
        let text = metrics.text();
        let lines = [
            "pierhead_requests_total{surface=\"registry\",route=\"blob\",code=\"4xx\"} 1",
            "pierhead_request_duration_seconds_bucket{le=\"0.005\",surface=\"registry\"} 1",
            "pierhead_received_bytes_total 7",
            "pierhead_connections 1",
            "pierhead_requests_in_flight 0",
            "pierhead_build_info{version=",
            "pierhead_extra 0",
            "# EOF",
        ];
        for line in lines {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }
}

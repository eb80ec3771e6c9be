//! Records that are given away.

use std::{
    collections::HashSet,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use http_trace::{HttpTrace, settings::Batches};

use crate::servers::{HELLO, answering, client, fetch};

#[tokio::test]
async fn each_record_is_given_away_once() {
    const REQUESTS: usize = 25;
    let server = answering(HELLO).await;
    let batches = Arc::new(Mutex::new(Vec::<HttpTrace>::new()));
    let taken = Arc::clone(&batches);
    let client = client(|settings| {
        settings.disable_keep_alive = true;
        settings.recording.batches = Some(Batches {
            threshold: NonZeroUsize::new(10).unwrap(),
            handler: Arc::new(move |batch| taken.lock().unwrap().push(batch)),
            flush_on_close: true,
        });
    });
    for _ in 0..REQUESTS {
        fetch(&client, &format!("http://{server}/")).await.unwrap();
    }
    assert!(client.close("last").requests.is_empty());
    let batches = batches.lock().unwrap();
    assert!(batches.len() > 1);
    let requests: Vec<_> = batches.iter().flat_map(|batch| &batch.requests).collect();
    let ids: HashSet<_> = requests.iter().map(|request| request.id).collect();
    assert_eq!((requests.len(), ids.len()), (REQUESTS, REQUESTS));
    assert!(requests.iter().all(|request| request.connection.is_some()));
}

//! What callers of the pool may rely on.

use std::sync::mpsc;

use layoutlm_core::bbox::NormalizedBox;

use super::*;

fn request(first_ids: &[u32]) -> Arc<Vec<EncodedReceipt>> {
    let window = |&id: &u32| Window {
        word_indices: vec![],
        input_ids: vec![id],
        bbox: vec![NormalizedBox::ZERO],
        word_ids: vec![None],
    };
    let windows = first_ids.iter().map(window).collect();
    Arc::new(vec![EncodedReceipt { num_words: 0, order: vec![], windows }])
}

const LIMITS: QueueLimits = QueueLimits { windows: 100, time: Duration::from_secs(3600) };

/// A window of `tokens` times the same id.
fn windows_of(id: u32, lengths: &[usize]) -> Arc<Vec<EncodedReceipt>> {
    let window = |&tokens: &usize| Window {
        word_indices: vec![],
        input_ids: vec![id; tokens],
        bbox: vec![NormalizedBox::ZERO; tokens],
        word_ids: vec![None; tokens],
    };
    Arc::new(vec![EncodedReceipt {
        num_words: 0,
        order: vec![],
        windows: lengths.iter().map(window).collect(),
    }])
}

fn echo(windows: &[&Window]) -> Result<Vec<Vec<f32>>, EngineError> {
    Ok(windows.iter().map(|w| w.input_ids.iter().map(|&id| id as f32).collect()).collect())
}

fn pool_of(single: Vec<Run>, rule: BatchRule, capacity: usize) -> Pool {
    let lanes = Lanes { single, wide: None };
    let limits = QueueLimits { windows: capacity, time: Duration::from_secs(3600) };
    Pool::start(lanes, rule, limits, Arc::new(Metrics::new(0.5))).unwrap()
}

fn pool(single: Vec<Run>, capacity: usize) -> Pool {
    pool_of(single, BatchRule::ALONE, capacity)
}

/// A worker that waits for a token before each window and says which window it does.
fn gated() -> (Run, mpsc::Sender<()>, mpsc::Receiver<u32>) {
    let (go, gate) = mpsc::channel();
    let (say, said) = mpsc::channel();
    let run: Run = Box::new(move |windows| {
        say.send(windows[0].input_ids[0]).unwrap();
        gate.recv().unwrap();
        echo(windows)
    });
    (run, go, said)
}

#[tokio::test]
async fn answers_come_back_in_the_order_of_the_windows() {
    let pool = pool((0..3).map(|_| Box::new(echo) as Run).collect(), 100);
    let ids: Vec<u32> = (0..50).collect();
    let done = pool.run(request(&ids)).await.unwrap();
    let found: Vec<u32> = done.logits[0].iter().map(|l| l[0] as u32).collect();
    assert_eq!(found, ids);
    assert_eq!(pool.waiting(), 0);
}

#[tokio::test]
async fn nothing_to_do_is_done_at_once() {
    let pool = pool(vec![], 1);
    assert!(pool.run(request(&[])).await.unwrap().logits[0].is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_and_a_short_request_goes_before_the_rest_of_a_long_one() {
    let (run, go, said) = gated();
    let pool = Arc::new(pool(vec![run], 4));
    let start = |ids: &'static [u32]| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.run(request(ids)).await })
    };
    let long = start(&[10, 11, 12]);
    assert_eq!(said.recv().unwrap(), 10);
    let short = start(&[20]);
    while pool.waiting() < 3 {
        tokio::task::yield_now().await;
    }
    let refused = pool.run(request(&[30, 31])).await.unwrap_err();
    assert!(matches!(refused, PoolError::Full { waiting: 3, wanted: 2 }), "{refused}");
    (0..4).for_each(|_| go.send(()).unwrap());
    assert_eq!(said.iter().take(3).collect::<Vec<_>>(), [20, 11, 12]);
    assert_eq!(short.await.unwrap().unwrap().logits, [[[20.0]]]);
    assert_eq!(long.await.unwrap().unwrap().logits[0].len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_left_costs_nothing_more() {
    let (run, go, said) = gated();
    let pool = Arc::new(pool(vec![run], 100));
    let other = pool.clone();
    let leaving = tokio::spawn(async move { other.run(request(&[1, 2, 3, 4])).await });
    assert_eq!(said.recv().unwrap(), 1);
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    assert_eq!(pool.waiting(), 0);
    (0..2).for_each(|_| go.send(()).unwrap());
    assert_eq!(pool.run(request(&[9])).await.unwrap().logits, [[[9.0]]]);
    assert_eq!(said.try_iter().collect::<Vec<_>>(), [9]);
}

#[tokio::test]
async fn a_panic_fails_its_request_and_the_worker_lives() {
    let run: Run = Box::new(|w| if w[0].input_ids[0] == 13 { panic!("unlucky") } else { echo(w) });
    let pool = pool(vec![run], 100);
    let error = pool.run(request(&[1, 13, 2, 3])).await.unwrap_err();
    assert!(matches!(&error, PoolError::Panicked(text) if text == "unlucky"), "{error}");
    assert_eq!(pool.run(request(&[5])).await.unwrap().logits, [[[5.0]]]);
    assert_eq!(pool.waiting(), 0);
}

/// A worker that says what it was given and, the first time, waits until told to go on.
fn recorded() -> (Run, mpsc::Sender<()>, mpsc::Receiver<Vec<usize>>) {
    let (go, gate) = mpsc::channel();
    let (say, said) = mpsc::channel();
    let mut first = true;
    let run: Run = Box::new(move |windows| {
        say.send(windows.iter().map(|w| w.len()).collect()).unwrap();
        if std::mem::take(&mut first) {
            gate.recv().unwrap();
        }
        echo(windows)
    });
    (run, go, said)
}

/// What one worker was given when it came to requests of these lengths, all of them waiting; and their answers.
async fn batches(rule: BatchRule, lengths: &'static [&'static [usize]]) -> Vec<Vec<usize>> {
    let (run, go, said) = recorded();
    let pool = Arc::new(pool_of(vec![run], rule, 1000));
    let start = |id: u32, lengths: &'static [usize]| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.run(windows_of(id, lengths)).await })
    };
    let blocker = start(0, &[9999]);
    assert_eq!(said.recv().unwrap(), [9999]);
    let mut requests = Vec::new();
    for (id, lengths) in (1..).zip(lengths) {
        let before = pool.waiting();
        requests.push((id, start(id, lengths)));
        while pool.waiting() < before + lengths.len() {
            tokio::task::yield_now().await;
        }
    }
    go.send(()).unwrap();
    blocker.await.unwrap().unwrap();
    for ((id, request), lengths) in requests.into_iter().zip(lengths) {
        let expected: Vec<Vec<f32>> = lengths.iter().map(|&n| vec![id as f32; n]).collect();
        assert_eq!(request.await.unwrap().unwrap().logits[0], expected);
    }
    said.try_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_like_length_share_a_batch_within_the_budget_of_tokens() {
    let rule = BatchRule { tokens: 400, padding: true, ..BatchRule::ALONE };
    let found = batches(rule, &[&[100, 500], &[95, 40], &[98], &[100, 100]]).await;
    assert_eq!(found, [vec![100, 95, 98, 100], vec![40], vec![100], vec![500]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graph_without_a_mask_gets_windows_of_one_length() {
    let rule = BatchRule { tokens: 400, padding: false, ..BatchRule::ALONE };
    let found = batches(rule, &[&[100], &[99], &[100]]).await;
    assert_eq!(found, [vec![100, 100], vec![99]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_window_runs_alone_unless_batches_are_asked_for() {
    assert_eq!(batches(BatchRule::ALONE, &[&[5, 5], &[5]]).await, [[5], [5], [5]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_waits_for_company_no_longer_than_it_may() {
    let rule = BatchRule { tokens: 100, padding: true, delay: Duration::from_millis(200) };
    let (run, go, said) = recorded();
    go.send(()).unwrap();
    let pool = pool_of(vec![run], rule, 100);
    let begun = std::time::Instant::now();
    let (first, second) = tokio::join!(pool.run(windows_of(1, &[10])), pool.run(windows_of(2, &[10])));
    assert_eq!(
        (first.unwrap().logits, second.unwrap().logits),
        (vec![vec![vec![1.0; 10]]], vec![vec![vec![2.0; 10]]])
    );
    assert!(begun.elapsed() >= Duration::from_millis(190));
    assert_eq!(said.try_iter().collect::<Vec<_>>(), [[10, 10]]);
}

#[tokio::test]
async fn a_bad_window_does_not_fail_those_it_shared_a_batch_with() {
    let run: Run = Box::new(|windows| {
        if windows.iter().any(|w| w.input_ids[0] == 13) { panic!("unlucky") } else { echo(windows) }
    });
    let rule = BatchRule { tokens: 100, padding: true, delay: Duration::from_millis(50) };
    let pool = pool_of(vec![run], rule, 100);
    let (good, bad) = tokio::join!(pool.run(windows_of(1, &[5])), pool.run(windows_of(13, &[5])));
    assert_eq!(good.unwrap().logits, [[[1.0; 5]]]);
    assert!(matches!(bad.unwrap_err(), PoolError::Panicked(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_window_goes_to_all_threads() {
    let (say, said) = mpsc::channel();
    let lane = |name: &'static str| -> Run {
        let say = say.clone();
        Box::new(move |windows| {
            say.send(name).unwrap();
            echo(windows)
        })
    };
    let lanes = Lanes { single: vec![lane("single"), lane("single")], wide: Some(lane("wide")) };
    let pool = Pool::start(lanes, BatchRule::ALONE, LIMITS, Arc::new(Metrics::new(0.5))).unwrap();
    pool.run(windows_of(1, &[5])).await.unwrap();
    pool.run(windows_of(1, &[5; 40])).await.unwrap();
    let given: Vec<&str> = said.try_iter().collect();
    assert_eq!(given[0], "wide");
    assert!(given[1..].iter().filter(|lane| **lane == "single").count() >= 38, "{given:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_answered_too_late_is_refused_at_once() {
    let run: Run = Box::new(|windows| {
        std::thread::sleep(Duration::from_millis(30));
        echo(windows)
    });
    let limits = QueueLimits { windows: 1000, time: Duration::from_millis(200) };
    let lanes = Lanes { single: vec![run], wide: None };
    let pool = Arc::new(Pool::start(lanes, BatchRule::ALONE, limits, Arc::new(Metrics::new(0.5))).unwrap());
    pool.run(windows_of(1, &[10; 5])).await.unwrap();
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.run(windows_of(1, &[10])).await })
        })
        .collect();
    let (mut taken, mut refused) = (0, 0);
    for request in requests {
        match request.await.unwrap() {
            Ok(done) => {
                assert!(done.queued <= Duration::from_millis(400), "{:?}", done.queued);
                taken += 1;
            }
            Err(PoolError::TooLate { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!((3..=10).contains(&taken) && refused > 0, "{taken} taken, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_request_is_not_held_up_by_all_that_come_after_it() {
    let (run, go, said) = gated();
    let pool = Arc::new(pool(vec![run], 1000));
    let start = |ids: Vec<u32>| {
        let (pool, before) = (pool.clone(), pool.waiting() + ids.len());
        let request = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(request(&ids)).await.unwrap() }
        });
        (request, pool, before)
    };
    let mut requests = vec![start(vec![0]).0];
    assert_eq!(said.recv().unwrap(), 0);
    for ids in std::iter::once(vec![1, 2]).chain((100..120).map(|id| vec![id])) {
        let (request, pool, expected) = start(ids);
        while pool.waiting() < expected {
            tokio::task::yield_now().await;
        }
        requests.push(request);
    }
    (0..23).for_each(|_| go.send(()).unwrap());
    for request in requests {
        request.await.unwrap();
    }
    let order: Vec<u32> = said.try_iter().collect();
    assert_eq!(order[0], 1);
    let place = order.iter().position(|id| *id == 2).unwrap();
    assert!((5..=10).contains(&place), "{order:?}");
}

//! What the walls of a program cost at its start: `/bin/true` by its keeper, with none, with a sandbox, and with a network of its
//! own in it, in turns.
use bgagent::child::{self, Confinement, Ended, Inherit, StartOrder};
use bgagent::domain::{NetTarget, ProgramOwner, Sandbox};
use std::time::Instant;

const TIMES: usize = 300;

pub fn cost_of_a_start() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let net = vec![NetTarget::parse("example.com").expect("a host")];
    let walls = [None, Some(Sandbox::default()), Some(Sandbox { net, ..Sandbox::default() })];
    let mut taken: [Vec<f64>; 3] = Default::default();
    for _ in 0..TIMES {
        for (sandbox, taken) in walls.iter().zip(&mut taken) {
            let began = Instant::now();
            runtime.block_on(started(sandbox.as_ref()));
            taken.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    let [none, within, online] = taken.map(|mut all| super::percentile(&mut all, 0.5));
    super::row("`/bin/true` by its keeper, from its start to its end, median", format!("{none:.2} ms"));
    super::row("the same within a sandbox", format!("{within:.2} ms ({:+.2} ms)", within - none));
    super::row("the same with a network of its own", format!("{online:.2} ms ({:+.2} ms)", online - none));
}

async fn started(sandbox: Option<&Sandbox>) {
    let owner = ProgramOwner::default();
    let confinement =
        sandbox.map(|sandbox| Confinement::new(sandbox, &owner, &[], std::iter::empty::<&str>()).owned());
    let order = StartOrder {
        argv: vec!["/bin/true".into()],
        environment: Inherit::Basics.environment(),
        cwd: "/".into(),
        confinement,
        control: None,
    };
    let (mut kept, _output) = child::start(order).await.expect("it starts");
    kept.go(None).expect("its keeper lives");
    let ended = kept.ended().await;
    assert!(matches!(&ended, Ended::Ran { status, .. } if status.success()), "{ended:?}");
    kept.end().await;
}

//! Which process this is, as torchrun's variables or SageMaker's resource configuration say.

use serde::Deserialize;

use super::ParallelError;

/// Port of rank 0 where nothing names one.
const DEFAULT_PORT: u16 = 29500;

/// The place of this process among those of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// This process, from 0.
    pub rank: usize,
    /// Number of processes, at least 2.
    pub world_size: usize,
    /// This process among those of its machine, from 0: the card it takes.
    pub local_rank: usize,
    /// Host of rank 0.
    pub host: String,
    /// Port that rank 0 listens on.
    pub port: u16,
}

/// `resourceconfig.json` of a SageMaker training container.
#[derive(Debug, Deserialize)]
struct ResourceConfig {
    current_host: String,
    hosts: Vec<String>,
}

impl Launch {
    /// Reads `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT`; nothing where `WORLD_SIZE` is absent or 1.
    ///
    /// # Errors
    /// [`ParallelError::Launch`] names the variable that is missing or no number.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ParallelError> {
        let number = |name: &str| -> Result<Option<usize>, ParallelError> {
            let parse = |text: String| {
                let wrong = || ParallelError::Launch(format!("{name}={text}: is not a number"));
                text.trim().parse::<usize>().map_err(|_| wrong())
            };
            variable(name).map(parse).transpose()
        };
        let Some(world_size) = number("WORLD_SIZE")?.filter(|world| *world > 1) else { return Ok(None) };
        let missing = |name: &str| {
            ParallelError::Launch(format!(
                "WORLD_SIZE is {world_size}, but {name} is not set; torchrun sets both"
            ))
        };
        let rank = number("RANK")?.ok_or_else(|| missing("RANK"))?;
        if rank >= world_size {
            return Err(ParallelError::Launch(format!("RANK={rank}: must be below WORLD_SIZE={world_size}")));
        }
        let host = variable("MASTER_ADDR").ok_or_else(|| missing("MASTER_ADDR"))?;
        let asked = number("MASTER_PORT")?.unwrap_or(usize::from(DEFAULT_PORT));
        // torchrun's own agent listens on the port it hands out; the next one is free by its convention.
        let held = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let port = u16::try_from(asked + usize::from(held))
            .map_err(|_| ParallelError::Launch(format!("MASTER_PORT={asked}: is no port")))?;
        let local_rank = number("LOCAL_RANK")?.unwrap_or(0);
        Ok(Some(Self { rank, world_size, local_rank, host, port }))
    }

    /// Reads SageMaker's `resourceconfig.json`: one process a host, the first by name is rank 0; nothing for one host.
    ///
    /// # Errors
    /// [`ParallelError::Launch`] when it is not such a file.
    pub fn from_resource_config(text: &str) -> Result<Option<Self>, ParallelError> {
        let wrong = |what: String| ParallelError::Launch(format!("resourceconfig.json: {what}"));
        let mut config: ResourceConfig = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        config.hosts.sort();
        let place = config.hosts.iter().position(|host| *host == config.current_host);
        let rank = place.ok_or_else(|| wrong(format!("{} is not among the hosts", config.current_host)))?;
        let world_size = config.hosts.len();
        let host = config.hosts.into_iter().next().filter(|_| world_size > 1);
        Ok(host.map(|host| Self { rank, world_size, local_rank: 0, host, port: DEFAULT_PORT }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<Launch>, ParallelError> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Launch::from_variables(find)
    }

    const TWO: [(&str, &str); 5] = [
        ("WORLD_SIZE", "4"),
        ("RANK", "3"),
        ("LOCAL_RANK", "1"),
        ("MASTER_ADDR", "10.0.0.1"),
        ("MASTER_PORT", "29400"),
    ];

    #[test]
    fn torchruns_variables_say_who_this_is() {
        let expected = Launch { rank: 3, world_size: 4, local_rank: 1, host: "10.0.0.1".into(), port: 29400 };
        assert_eq!(from(&TWO).unwrap(), Some(expected.clone()));
        let mut held = TWO.to_vec();
        held.push(("TORCHELASTIC_USE_AGENT_STORE", "True"));
        assert_eq!(from(&held).unwrap(), Some(Launch { port: 29401, ..expected }));
        assert_eq!(from(&[]).unwrap(), None);
        assert_eq!(from(&[("WORLD_SIZE", "1"), ("RANK", "0")]).unwrap(), None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (variables, expected) in [
            (&[("WORLD_SIZE", "2")] as &[_], "RANK is not set"),
            (&[("WORLD_SIZE", "2"), ("RANK", "2"), ("MASTER_ADDR", "a")], "must be below WORLD_SIZE=2"),
            (&[("WORLD_SIZE", "two")], "WORLD_SIZE=two: is not a number"),
            (&[("WORLD_SIZE", "2"), ("RANK", "0")], "MASTER_ADDR is not set"),
            (
                &[("WORLD_SIZE", "2"), ("RANK", "0"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "99999")],
                "MASTER_PORT=99999: is no port",
            ),
        ] {
            let error = from(variables).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn sagemakers_hosts_are_ranks_in_order_of_their_names() {
        let text = r#"{"current_host":"algo-2","hosts":["algo-2","algo-1"],"network_interface_name":"eth0"}"#;
        let launch = Launch::from_resource_config(text).unwrap().unwrap();
        assert_eq!((launch.rank, launch.world_size, launch.host.as_str()), (1, 2, "algo-1"));
        let alone = r#"{"current_host":"algo-1","hosts":["algo-1"]}"#;
        assert_eq!(Launch::from_resource_config(alone).unwrap(), None);
        assert!(Launch::from_resource_config(r#"{"current_host":"b","hosts":["a","c"]}"#).is_err());
    }
}
